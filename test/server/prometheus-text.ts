/**
 * Checks a text in Prometheus's exposition format 0.0.4 as strictly as `promtool check metrics` does where it matters: each
 * family has HELP then TYPE then its samples in one block, names and labels are well-formed, no series twice, counters end in
 * `_total`, histograms are cumulative and end with `+Inf`. Returns the values by series.
 */
export function checkedMetrics(text: string): Map<string, number> {
  if (!text.endsWith('\n')) throw new Error('the last line has no line feed');
  const series = new Map<string, number>();
  const done = new Set<string>();
  let family = '';
  let type = '';
  let bucket = { series: '', value: -Infinity };
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (help !== null) {
      if (done.has(help[1]!)) throw new Error(`${help[1]} comes in two blocks`);
      family = help[1]!;
      done.add(family);
      type = '';
      continue;
    }
    const typed = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)$/.exec(
      line,
    );
    if (typed !== null) {
      if (typed[1] !== family || type !== '') throw new Error(`TYPE out of place: ${line}`);
      type = typed[2]!;
      if (type === 'counter' && !family.endsWith('_total'))
        throw new Error(`the counter ${family} does not end in _total`);
      continue;
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*",?)+)\})? (-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|\+Inf|NaN)$/.exec(
        line,
      );
    if (sample === null) throw new Error(`not a line of the format: ${line}`);
    const [, name = '', labels = '', value = ''] = sample;
    const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    if (type === '' || !suffixes.some((suffix) => name === family + suffix))
      throw new Error(`the sample ${name} stands outside its family ${family}`);
    const key = `${name}{${labels}}`;
    if (series.has(key)) throw new Error(`the series ${key} comes twice`);
    const number = Number(value.replace('Inf', 'Infinity'));
    if (type === 'counter' && !(number >= 0)) throw new Error(`the counter ${key} is ${value}`);
    if (name.endsWith('_bucket')) {
      const others = labels.replace(/,?le="[^"]*"/, '');
      if (others === bucket.series && number < bucket.value)
        throw new Error(`the buckets of ${key} are not cumulative`);
      bucket = labels.includes('le="+Inf"')
        ? { series: '', value: -Infinity }
        : { series: others, value: number };
    } else if (bucket.series !== '') throw new Error(`${family} has no bucket +Inf`);
    series.set(key, number);
  }
  return series;
}
