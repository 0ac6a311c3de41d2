/** The simulated disk: what survives what. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Disk } from '../../src/base/ports.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { SimulatedClock } from '../../src/sim/clock.ts';
import { SimulatedDisk } from '../../src/sim/disk.ts';
import { FaultSource, type Faults } from '../../src/sim/faults.ts';
import { createSchedule } from '../../src/sim/schedule.ts';

function diskWith(seed: number, faults: Faults): SimulatedDisk {
  const random = new SeededRandom(seed);
  const source = new FaultSource(faults, undefined, random.split('faults'));
  source.active = true;
  return new SimulatedDisk({
    clock: new SimulatedClock(0, createSchedule('fifo', random)),
    faults: source,
    random: random.split('disk'),
    syncMs: [0, 0],
    dying: () => undefined,
  });
}

const bytesOf = async (disk: Disk, path: string): Promise<number[]> => {
  const file = await disk.open(path, 'read');
  return [...(await file.read(0, await file.size()))];
};

test('after a power loss a file is what was synced and some first part of what came after; after a crash it is all there', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.boolean(),
      fc.boolean(),
      fc.array(fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 6 }), fc.constant('sync')), {
        maxLength: 12,
      }),
      async (seed, power, torn, steps) => {
        const disk = diskWith(seed, { lostTail: power ? 1 : 0, tornWrite: torn ? 1 : 0 });
        const before = disk.port(() => true);
        const file = await before.open('/d/f', 'create');
        await before.syncDirectory('/d');
        const written: number[] = [];
        /** How long the file was after each write, from the last sync on. */
        let lengths = [0];
        for (const step of steps) {
          if (typeof step === 'string') {
            await file.sync();
            lengths = [written.length];
          } else {
            await file.write(written.length, step);
            written.push(...step);
            lengths.push(written.length);
          }
        }
        const { power: lost } = disk.crash();
        expect(lost).toBe(power || torn);
        const found = await bytesOf(
          disk.port(() => true),
          '/d/f',
        );
        expect(found).toEqual(written.slice(0, found.length));
        expect(found.length).toBeGreaterThanOrEqual(lengths[0]!);
        if (!lost) expect(found).toEqual(written);
        else if (!torn) expect(lengths).toContain(found.length);
      },
    ),
  );
});

test('a name survives a power loss once its directory is synced; a process that has ended does nothing more, and holds no lock', async () => {
  for (let seed = 0; seed < 20; seed += 1) {
    const disk = diskWith(seed, { lostTail: 1 });
    let alive = true;
    const port = disk.port(() => alive);
    const kept = await port.open('/d/kept', 'create');
    await kept.write(0, Uint8Array.of(1));
    await kept.sync();
    await port.syncDirectory('/d');
    await port.open('/d/perhaps', 'create');
    await port.rename('/d/kept', '/d/renamed');
    await port.lock('/d');
    const late = kept.write(1, Uint8Array.of(2));
    alive = false;
    disk.crash();
    await Promise.race([late, Promise.resolve()]);
    const next = disk.port(() => true);
    expect(await next.list('/d')).toContain('kept');
    expect((await bytesOf(next, '/d/kept'))[0]).toBe(1);
    await next.lock('/d');
    await expect(next.lock('/d')).rejects.toMatchObject({ code: '55006' });
    void kept.write(0, Uint8Array.of(9));
    await Promise.resolve();
    expect((await bytesOf(next, '/d/kept'))[0]).toBe(1);
  }
});

test('what a failed sync has not written no later one writes, though it is read until the power goes; a process that ends makes nothing durable', async () => {
  const losses = new Set<string>();
  for (let seed = 0; seed < 40; seed += 1) {
    const disk = diskWith(seed, { lostTail: 0 });
    const port = disk.port(() => true);
    const file = await port.open('/d/f', 'create');
    await port.syncDirectory('/d');
    await file.write(0, Uint8Array.of(1));
    await file.sync();
    await file.write(1, Uint8Array.of(2));
    disk.break();
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
    disk.crash();
    const again = await disk.port(() => true).open('/d/f', 'write');
    await again.write(2, Uint8Array.of(3));
    expect(await bytesOf(port, '/d/f')).toEqual([1, 2, 3]);
    if (seed % 2 === 0) await again.sync();
    disk.crash(true);
    losses.add((await bytesOf(port, '/d/f')).join(''));
  }
  // Synced, but for what had failed; not synced, and a first part of it there.
  expect([...losses].sort()).toEqual(['1', '103', '12', '123']);
});

test('a full disk, a failing one, a lying one, and a bit that turns over', async () => {
  const full = diskWith(1, {});
  const file = await full.port(() => true).open('/d/f', 'create');
  full.fill();
  await expect(file.write(0, new Uint8Array(9))).rejects.toMatchObject({ code: 'ENOSPC' });
  expect(await file.size()).toBeLessThanOrEqual(9);
  full.heal();
  await file.write(0, new Uint8Array(9));
  full.break();
  await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });

  const lying = diskWith(2, { lyingSync: 1, lostTail: 1, bitFlip: 1 });
  const port = lying.port(() => true);
  await port.open('/d/f', 'create');
  await port.syncDirectory('/d');
  expect(lying.crash()).toMatchObject({ power: true, lied: true });

  const flipping = diskWith(3, { bitFlip: 1 });
  const other = flipping.port(() => true);
  const written = await other.open('/d/f', 'create');
  await written.write(0, Uint8Array.of(0, 0, 0, 0));
  expect(flipping.crash()).toMatchObject({ power: false, flipped: '/d/f' });
  const bits = (await bytesOf(other, '/d/f')).reduce(
    (sum, byte) => sum + byte.toString(2).replaceAll('0', '').length,
    0,
  );
  expect(bits).toBe(1);
  expect(flipping.restore()).toEqual(['/d/f']);
  expect(await bytesOf(other, '/d/f')).toEqual([0, 0, 0, 0]);

  // What was written over a bit that had turned is no damage any more.
  flipping.crash();
  await written.write(0, Uint8Array.of(1, 2, 3, 4));
  expect(flipping.restore()).toEqual([]);
  expect(await bytesOf(other, '/d/f')).toEqual([1, 2, 3, 4]);
});
