/** Figures as people read them. */
export const number = new Intl.NumberFormat('en-US');
export const compact = new Intl.NumberFormat('en-US', {
  notation: 'compact',
  maximumFractionDigits: 1,
});
/** Without a sign before zero. */
export const whole = (value) => String(Math.round(value) + 0);

const time = new Intl.DateTimeFormat('en-US', {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
  timeZone: 'UTC',
});
const weekday = new Intl.DateTimeFormat('en-US', {
  weekday: 'long',
  year: 'numeric',
  timeZone: 'UTC',
});

/** Timestamps without a zone, as the database writes them. */
export const civilTime = (text) => time.format(Date.parse(`${text}Z`)).replace(/,(?= \d\d:)/, '');
export const civilDay = (text) =>
  weekday
    .format(Date.parse(`${text}Z`))
    .split(' ')
    .reverse()
    .join(' ');

export function age(ms) {
  if (ms < 1000) return 'just now';
  if (ms < 60_000) return `${Math.round(ms / 1000)} s ago`;
  return `${Math.round(ms / 60_000)} min ago`;
}

export function milliseconds(ms) {
  return ms < 1 ? '<1' : ms < 10 ? ms.toFixed(1) : number.format(Math.round(ms));
}
