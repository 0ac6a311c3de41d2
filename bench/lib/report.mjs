/**
 * Collects results and shows them. A ratio is ours ÷ peer for times and bytes, peer ÷ ours for rates: below 1 is always
 * better. A `bar` is the aim that a result is held against; it is shown, and never changes what is measured.
 */
export class Report {
  #results = [];
  #bars = new Map();

  /**
   * @param {{ metric: string, unit: string, value: number, peer?: string, peerValue?: number, ratio?: number,
   *   rate?: boolean, bar?: { ratioMax?: number, valueMax?: number, valueMin?: number } }} result `rate`: more is better.
   */
  add({ metric, unit, value, peer, peerValue, ratio, rate = false, bar }) {
    const result = { metric, unit, value };
    if (peer !== undefined) result.peer = peer;
    if (peerValue !== undefined) {
      result.peerValue = peerValue;
      result.ratio = ratio ?? (rate ? peerValue / value : value / peerValue);
    } else if (ratio !== undefined) result.ratio = ratio;
    this.#results.push(result);
    if (bar !== undefined) this.#bars.set(result, bar);
    return result;
  }

  /** The geometric mean of the ratios against a peer: the one mean under which ratios are fair to both sides. */
  addGeometricMean({ metric, peer, bar }) {
    const ratios = this.#results.flatMap((result) =>
      result.peer === peer && result.ratio !== undefined ? [result.ratio] : [],
    );
    const ratio = Math.exp(ratios.reduce((sum, each) => sum + Math.log(each), 0) / ratios.length);
    return this.add({ metric, unit: '×', value: ratio, peer, ratio, bar });
  }

  results() {
    return this.#results;
  }

  print() {
    const rows = this.#results.map((result) => {
      const bar = this.#bars.get(result);
      return [
        result.metric,
        `${number(result.value)} ${result.unit}`,
        result.peer ?? '',
        result.peerValue === undefined ? '' : `${number(result.peerValue)} ${result.unit}`,
        result.ratio === undefined ? '' : `${result.ratio.toFixed(2)}×`,
        bar === undefined
          ? ''
          : `${barText(bar, result.unit)} ${isMet(result, bar) ? 'met' : 'MISSED'}`,
      ];
    });
    printTable(['metric', 'ours', 'peer', 'peer has', 'ratio', 'bar'], rows);
  }
}

function isMet(
  { value, ratio },
  { ratioMax = Infinity, valueMax = Infinity, valueMin = -Infinity },
) {
  return (ratio ?? 0) <= ratioMax && value <= valueMax && value >= valueMin;
}

function barText({ ratioMax, valueMax, valueMin }, unit) {
  if (ratioMax !== undefined) return `≤ ${ratioMax}×`;
  return valueMax === undefined ? `≥ ${number(valueMin)} ${unit}` : `≤ ${number(valueMax)} ${unit}`;
}

/** Three significant digits are what a measurement here is good for; large numbers are grouped. */
export function number(value) {
  if (Math.abs(value) >= 1000)
    return Math.round(value)
      .toString()
      .replace(/\B(?=(\d{3})+$)/g, ' ');
  return String(Number(value.toPrecision(3)));
}

/** A table that is also Markdown. */
export function printTable(head, rows) {
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at].length), 3),
  );
  const line = (cells) => `| ${cells.map((cell, at) => cell.padEnd(widths[at])).join(' | ')} |`;
  console.log(line(head));
  console.log(`|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  for (const row of rows) console.log(line(row));
}
