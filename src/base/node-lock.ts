import { randomBytes } from 'node:crypto';
import { link, readdir, readFile, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DbError } from './errors.ts';
import type { DiskLock } from './ports.ts';

/**
 * A lock of a directory between processes, made of what every file system has: a name can be made by one only, and a rename is
 * at once. Node has no flock. Locks are numbered; the one with the highest number counts:
 *
 * 1. Whoever finds the highest lock given back, or its process dead, makes the next number (`link` fails where it exists). Of
 *    several who find the same, one succeeds.
 * 2. The highest number is never removed, so no number comes twice; giving back rewrites it. Lower ones are removed by whoever is
 *    above them. One who is late, and makes a number that was there and was removed, finds a higher one when it looks
 *    again, and steps back.
 *
 * A process lives while its number is taken by a process that began at the same time since the same start of the machine. Where that
 * cannot be asked (another machine, another container) it counts as living while its lock changes: it writes a beat into it
 * every two seconds.
 */
export async function lockDirectory(directory: string): Promise<DiskLock> {
  const self = await ownIdentity();
  for (;;) {
    const numbers = await numbersIn(directory);
    const highest = numbers.at(-1) ?? 0;
    const holder = highest === 0 ? undefined : await contentOf(directory, highest);
    // Removed between the two looks: there is a higher one.
    if (highest > 0 && holder === undefined) continue;
    if (
      holder !== undefined &&
      !holder.released &&
      (await isAlive(directory, highest, holder, self))
    )
      throw held(directory, highest, holder, self);
    const number = highest + 1;
    const own = { ...self, nonce: randomBytes(8).toString('hex'), beat: 0, released: false };
    if (!(await made(directory, number, own))) continue;
    const now = await numbersIn(directory);
    if (now.at(-1) !== number) {
      await rm(fileOf(directory, number), { force: true });
      continue;
    }
    for (const lower of now)
      if (lower < number) await rm(fileOf(directory, lower), { force: true });
    return new HeldLock(directory, number, own);
  }
}

class HeldLock implements DiskLock {
  readonly #directory: string;
  readonly #number: number;
  #content: LockContent;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(directory: string, number: number, content: LockContent) {
    this.#directory = directory;
    this.#number = number;
    this.#content = content;
    this.#timer = setInterval(() => {
      this.#content = { ...this.#content, beat: this.#content.beat + 1 };
      this.#write();
    }, BEAT_MS).unref();
  }

  async release(): Promise<void> {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#content = { ...this.#content, released: true };
    this.#write();
    await this.#writing;
  }

  /** A beat that cannot be written is a beat missed: others only look at it where they cannot ask for the process. */
  #write(): void {
    this.#writing = this.#writing
      .then(() => replace(this.#directory, this.#number, this.#content))
      .catch(() => undefined);
  }
}

type Identity = {
  readonly pid: number;
  readonly host: string;
  /** Of the machine's start, and of the space in which process numbers count. Empty where the system does not tell. */
  readonly boot: string;
  readonly space: string;
  /** When the process began, in ticks since the machine's start. */
  readonly began: string;
};

type LockContent = Identity & {
  readonly nonce: string;
  readonly beat: number;
  readonly released: boolean;
};

const BEAT_MS = 2_000;
/** A beat is missed for certain after so long. */
const BEAT_MISSED_MS = 10_000;
const PREFIX = 'lock-';

const fileOf = (directory: string, number: number): string =>
  join(directory, `${PREFIX}${String(number).padStart(6, '0')}`);

async function numbersIn(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  return names
    .filter((name) => /^lock-\d+$/.test(name))
    .map((name) => Number(name.slice(PREFIX.length)))
    .sort((a, b) => a - b);
}

async function contentOf(directory: string, number: number): Promise<LockContent | undefined> {
  try {
    return JSON.parse(await readFile(fileOf(directory, number), 'utf8')) as LockContent;
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    // A power loss left an empty file behind: nobody of then is alive.
    if (cause instanceof SyntaxError) return { ...NOBODY, nonce: '', beat: 0, released: true };
    throw cause;
  }
}

const NOBODY: Identity = { pid: 0, host: '', boot: '', space: '', began: '' };

/** Makes the file with all of its content, or finds that it is there. */
async function made(directory: string, number: number, content: LockContent): Promise<boolean> {
  const draft = join(directory, `lock.${content.nonce}`);
  try {
    await writeFile(draft, JSON.stringify(content));
    await link(draft, fileOf(directory, number));
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
    throw cause;
  } finally {
    await rm(draft, { force: true });
  }
}

async function replace(directory: string, number: number, content: LockContent): Promise<void> {
  const draft = join(directory, `lock.${content.nonce}`);
  await writeFile(draft, JSON.stringify(content));
  await rename(draft, fileOf(directory, number));
}

async function isAlive(
  directory: string,
  number: number,
  holder: LockContent,
  self: Identity,
): Promise<boolean> {
  if (holder.host === self.host && holder.boot !== self.boot) return false;
  const sameSpace = holder.boot === self.boot && holder.space === self.space;
  if (sameSpace && (holder.boot !== '' || holder.host === self.host)) {
    if (!processExists(holder.pid)) return false;
    const began = await beganAt(holder.pid);
    return began === holder.began || began === '' || holder.began === '';
  }
  await new Promise((resolve) => setTimeout(resolve, BEAT_MISSED_MS));
  const later = await contentOf(directory, number);
  return later === undefined || later.beat !== holder.beat || later.nonce !== holder.nonce;
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return codeOf(cause) !== 'ESRCH';
  }
}

async function ownIdentity(): Promise<Identity> {
  return {
    pid: process.pid,
    host: hostname(),
    boot: await textOr('', () => readFile('/proc/sys/kernel/random/boot_id', 'utf8')),
    space: await textOr('', () => readlink('/proc/self/ns/pid')),
    began: await beganAt(process.pid),
  };
}

/** The 22nd field of /proc/<pid>/stat; what stands in parentheses before may hold blanks. */
async function beganAt(pid: number): Promise<string> {
  const stat = await textOr('', () => readFile(`/proc/${pid}/stat`, 'utf8'));
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

async function textOr(otherwise: string, read: () => Promise<string>): Promise<string> {
  try {
    return (await read()).trim();
  } catch {
    return otherwise;
  }
}

function held(
  directory: string,
  number: number,
  holder: LockContent,
  { pid, host, space }: Identity,
): DbError {
  if (holder.pid === pid && holder.host === host && holder.space === space)
    return new DbError('55006', `"${directory}" is open in this process already`, {
      hint: 'Close that database first, by await db.close(), use it, or open another directory.',
    });
  return new DbError('55006', `"${directory}" is in use by another process`, {
    detail: `Process ${holder.pid} on ${holder.host} holds it.`,
    hint: `End that process, or use another directory. If it is gone for certain, remove ${fileOf(directory, number)}.`,
  });
}

function codeOf(cause: unknown): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : undefined;
}
