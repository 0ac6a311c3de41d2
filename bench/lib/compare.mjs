/** A shared machine is noisy, and a ratio of two times from one run is much less so; a quarter is beyond its noise. */
const WORSE_MIN = 1.25;

/** The ratios that grew by over a quarter since `earlier`: below 1 is better, so a growing one is worse. */
export function worseThan(results, earlier) {
  const before = new Map(earlier.map((result) => [keyOf(result), result.ratio]));
  return results.flatMap((result) => {
    const was = before.get(keyOf(result));
    if (was === undefined || result.ratio === undefined || result.ratio <= was * WORSE_MIN)
      return [];
    return [{ metric: result.metric, was, is: result.ratio }];
  });
}

function keyOf({ metric, peer }) {
  return `${metric}\u0000${peer ?? ''}`;
}
