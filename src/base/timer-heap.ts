/** What waits for an instant; of several due at once the one of the lowest order comes first. */
export type Timed = { readonly dueMs: number; readonly order: number };

/** Whether `left` comes first: the order of the heap, and of whoever sorts one. */
export function isBefore(left: Timed, right: Timed): boolean {
  return left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order);
}

/** Puts an item into a binary heap. */
export function pushTimed<Item extends Timed>(heap: Item[], item: Item): void {
  let index = heap.length;
  heap.push(item);
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (isBefore(heap[parent]!, item)) break;
    heap[index] = heap[parent]!;
    index = parent;
  }
  heap[index] = item;
}

/** Takes the first item, which is `heap[0]`, out of a binary heap that has one. */
export function popTimed(heap: Timed[]): void {
  const last = heap.pop()!;
  const count = heap.length;
  if (count === 0) return;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= count) break;
    if (child + 1 < count && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
    if (!isBefore(heap[child]!, last)) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = last;
}
