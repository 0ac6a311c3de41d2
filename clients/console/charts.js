/** What is drawn, in place: plots change their data, bars and tiles their texts and one style each. */
import uPlot from './uplot.js';
import { compact, number, whole } from './format.js';

export const css = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Colours are looked up when drawn, so that light and dark change under a running chart.
const colour = (name) => () => css(name);
const faded = (name, percent) => () => `color-mix(in srgb, ${css(name)} ${percent}%, transparent)`;

const plots = new Set();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of plots) chart.redraw(false);
});

const axis = (more = {}) => ({
  stroke: colour('--soft'),
  grid: { stroke: colour('--line'), width: 1 },
  ticks: { show: false },
  font: '11px system-ui',
  ...more,
});
const figures = (more = {}) =>
  axis({ size: 46, values: (_plot, ticks) => ticks.map((tick) => compact.format(tick)), ...more });

/** Lengths are compared: they begin at zero. */
const fromZero = { range: (_plot, _low, high) => [0, Math.max(1, (high ?? 1) * 1.06)] };
const DAYS = new Intl.DateTimeFormat('en-US', { month: 'short', day: 'numeric', timeZone: 'UTC' });
const HOURS = new Intl.DateTimeFormat('en-US', {
  weekday: 'short',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  hourCycle: 'h23',
  timeZone: 'UTC',
});
const dates = axis({
  space: 64,
  values: (_plot, ticks) => ticks.map((tick) => DAYS.format(tick * 1000)),
  incrs: [86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400, 28 * 86_400],
  size: 26,
});

/** A plot that fills its element, with a readout beside its title while the pointer is over it. */
function plot(id, options, read) {
  const host = document.getElementById(id);
  const readout = document.createElement('p');
  readout.className = 'legend';
  readout.hidden = true;
  host.parentElement.querySelector('.head').append(readout);
  const legend = host.parentElement.querySelector('.head .legend');
  const size = () => ({ width: host.clientWidth, height: host.clientHeight });
  const chart = new uPlot(
    {
      ...size(),
      cursor: { y: false, points: { size: 6 } },
      legend: { show: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), 'Etc/UTC'),
      padding: [8, 6, 0, 0],
      ...options,
      hooks: {
        setCursor: [
          (self) => {
            const { idx } = self.cursor;
            const text = idx == null ? undefined : read(self.data, idx);
            readout.hidden = text === undefined;
            if (legend !== null && legend !== readout) legend.hidden = text !== undefined;
            if (text !== undefined) readout.textContent = text;
          },
        ],
      },
    },
    options.series.map(() => []),
    host,
  );
  new ResizeObserver(() => chart.setSize(size())).observe(host);
  plots.add(chart);
  return (data, summary) => {
    host.classList.add('ready');
    chart.setData(data);
    if (summary !== undefined) host.setAttribute('aria-label', summary);
  };
}

const bars = (align) => uPlot.paths.bars({ size: [0.86, 60], align });

export const hoursPlot = () =>
  plot(
    'hours',
    {
      scales: { y: fromZero, delay: {} },
      axes: [
        dates,
        figures({
          label: 'flights an hour',
          labelSize: 16,
          labelGap: 2,
          labelFont: '11px system-ui',
        }),
        axis({
          scale: 'delay',
          side: 1,
          size: 40,
          grid: { show: false },
          label: 'delay, min',
          labelSize: 16,
          labelGap: 0,
          labelFont: '11px system-ui',
        }),
      ],
      series: [
        {},
        {
          stroke: colour('--accent'),
          width: 1.25,
          fill: faded('--accent', 16),
          points: { show: false },
        },
        {
          stroke: colour('--warm'),
          width: 1.75,
          scale: 'delay',
          spanGaps: true,
          points: { show: false },
        },
      ],
    },
    ([at, flights, delay], index) =>
      `${HOURS.format(at[index] * 1000)} h · ${number.format(flights[index])} flights${delay[index] == null ? '' : ` · ${delay[index].toFixed(1)} min`}`,
  );

export const histogramPlot = (lastMinutes) =>
  plot(
    'histogram',
    {
      scales: { x: { time: false }, y: fromZero },
      axes: [
        axis({
          values: (_plot, ticks) =>
            ticks.map((tick) => (tick >= lastMinutes ? `${tick}+` : String(tick))),
          incrs: [30, 60, 120],
          size: 26,
        }),
        figures(),
      ],
      series: ['', '--accent', '--warm'].map((name) =>
        name === ''
          ? {}
          : {
              stroke: colour(name),
              width: 0,
              fill: colour(name),
              paths: bars(1),
              points: { show: false },
            },
      ),
    },
    ([from, onTime, late], index) =>
      `${from[index]} to ${from[index] >= lastMinutes ? '…' : from[index] + 15} min · ${number.format(onTime[index] ?? late[index] ?? 0)} flights`,
  );

export const daysPlot = () =>
  plot(
    'days',
    {
      scales: { y: fromZero },
      axes: [dates, figures()],
      series: [
        {},
        {
          stroke: colour('--accent'),
          width: 0,
          fill: colour('--accent'),
          paths: bars(0),
          points: { show: false },
        },
      ],
    },
    ([at, flights], index) =>
      `${DAYS.format(at[index] * 1000)} · ${number.format(flights[index])} flights`,
  );

/** Bars that keep their elements: only texts and one transform change. */
export function drawBars(id, items) {
  const host = document.getElementById(id);
  const most = Math.max(...items.map(({ value }) => value), 1e-9);
  while (host.children.length < items.length) {
    const bar = document.createElement('div');
    bar.className = 'bar';
    bar.setAttribute('role', 'listitem');
    for (const tag of ['span', 'i', 'span', 'span']) bar.append(document.createElement(tag));
    host.append(bar);
  }
  while (host.children.length > items.length) host.lastChild.remove();
  items.forEach(({ label, value, texts }, index) => {
    const [name, fill, ...rest] = host.children[index].children;
    setText(name, label);
    name.title = label;
    fill.style.transform = `scaleX(${Math.max(0, value) / most})`;
    texts.forEach((text, place) => setText(rest[place], text));
  });
}

/** Where each state lies on a map of equal tiles: row by row, eleven columns. */
const STATES = [
  'AK . . . . . . . . . ME',
  '. . . . . WI . . . VT NH',
  'WA ID MT ND MN IL MI . NY MA .',
  'OR NV WY SD IA IN OH PA NJ CT RI',
  'CA UT CO NE MO KY WV VA MD DE .',
  '. AZ NM KS AR TN NC SC DC . .',
  '. . . OK LA MS AL GA . . .',
  'HI . . TX . . . . FL . .',
].flatMap((row, y) =>
  row.split(' ').flatMap((state, x) => (state === '.' ? [] : [{ state, x: x + 1, y: y + 1 }])),
);

/** Heat goes from the least to the most of what is shown. */
export function drawMap(id, values, describe) {
  const host = document.getElementById(id);
  if (host.children.length === 0) {
    for (const { state, x, y } of STATES) {
      const tile = document.createElement('div');
      tile.style.gridArea = `${y} / ${x}`;
      tile.setAttribute('role', 'listitem');
      const name = document.createElement('b');
      name.textContent = state;
      tile.append(name, document.createElement('span'));
      host.append(tile);
    }
  }
  const shown = STATES.map(({ state }) => values.get(state));
  const known = shown.filter((value) => value !== undefined);
  if (known.length === 0) return undefined;
  host.classList.add('ready');
  const low = Math.min(...known);
  const high = Math.max(...known);
  shown.forEach((value, index) => {
    const tile = host.children[index];
    const heat = value === undefined ? 0 : (value - low) / Math.max(high - low, 1e-9);
    tile.style.setProperty('--heat', heat.toFixed(3));
    setText(tile.lastChild, value === undefined ? '' : whole(value));
    const text = describe(STATES[index].state);
    if (tile.title !== text) {
      tile.title = text;
      tile.setAttribute('aria-label', text);
    }
  });
  return { low, high };
}

/** The last minute of a figure as a line. */
export class Sparkline {
  #canvas;
  #values = [];

  constructor(id) {
    this.#canvas = document.getElementById(id);
  }

  push(value) {
    this.#values.push(value);
    if (this.#values.length > 120) this.#values.shift();
    const canvas = this.#canvas;
    const scale = devicePixelRatio;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height)
      Object.assign(canvas, { width, height });
    const pen = canvas.getContext('2d');
    pen.clearRect(0, 0, width, height);
    const most = Math.max(...this.#values, 1e-9);
    const x = (index) => width - ((this.#values.length - 1 - index) / 119) * width;
    const y = (each) => height - scale - (each / most) * (height - 3 * scale);
    pen.beginPath();
    this.#values.forEach((each, index) => pen.lineTo(x(index), y(each)));
    pen.strokeStyle = css('--accent');
    pen.lineWidth = 1.5 * scale;
    pen.lineJoin = 'round';
    pen.stroke();
    pen.lineTo(x(this.#values.length - 1), height);
    pen.lineTo(x(0), height);
    pen.globalAlpha = 0.14;
    pen.fillStyle = css('--accent');
    pen.fill();
    pen.globalAlpha = 1;
  }
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
