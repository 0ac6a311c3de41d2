import { assert } from '../base/errors.ts';

/**
 * Who reads whom, and the order in which a commit is carried on: every relation stands higher than all it reads, so a view
 * that is reached over several ways runs once, after all of them (no glitches, no diamonds seen half-way).
 */
export class ViewGraph {
  readonly #nodes = new Map<number, GraphNode>();

  /** Adds a view over relations; those that are not views are tables, at height 0. A relation is added before its readers. */
  add(view: number, sources: readonly number[]): void {
    assert(!this.#nodes.has(view) || this.#nodes.get(view)!.sources.length === 0, 'a view is added once');
    const node = this.#node(view);
    node.sources = [...new Set(sources)];
    assert(!node.sources.some((source) => source === view || this.reads(source, view)), 'a view does not read itself');
    for (const source of node.sources) this.#node(source).readers.push(node);
    this.#raise(node);
  }

  /** Takes a view away that nobody reads. */
  remove(view: number): void {
    const node = this.#nodes.get(view);
    if (node === undefined) return;
    assert(node.readers.length === 0, 'a view is removed after the views on it');
    for (const source of node.sources) {
      const below = this.#nodes.get(source)!;
      below.readers.splice(below.readers.indexOf(node), 1);
      if (below.readers.length === 0 && below.sources.length === 0) this.#nodes.delete(source);
    }
    this.#nodes.delete(view);
  }

  /** 0 for tables; a view is one above the highest relation it reads. */
  height(relation: number): number {
    return this.#nodes.get(relation)?.height ?? 0;
  }

  /** Views that read the relation directly, in order of id. */
  readersOf(relation: number): readonly number[] {
    return (this.#nodes.get(relation)?.readers ?? []).map((reader) => reader.id).sort((a, b) => a - b);
  }

  /** Whether `view` reads `relation`, directly or over other views. */
  reads(view: number, relation: number): boolean {
    const node = this.#nodes.get(view);
    return node !== undefined && node.sources.some((source) => source === relation || this.reads(source, relation));
  }

  /** All views downstream of the relations, each after everything it reads; ties in order of id. */
  downstream(relations: Iterable<number>): readonly number[] {
    const reached = new Set<GraphNode>();
    const visit = (node: GraphNode): void => {
      for (const reader of node.readers) {
        if (reached.has(reader)) continue;
        reached.add(reader);
        visit(reader);
      }
    };
    for (const relation of relations) {
      const node = this.#nodes.get(relation);
      if (node !== undefined) visit(node);
    }
    return [...reached].sort((a, b) => a.height - b.height || a.id - b.id).map((node) => node.id);
  }

  #node(id: number): GraphNode {
    let node = this.#nodes.get(id);
    if (node === undefined) {
      node = { id, height: 0, sources: [], readers: [] };
      this.#nodes.set(id, node);
    }
    return node;
  }

  #raise(node: GraphNode): void {
    const height = 1 + Math.max(-1, ...node.sources.map((source) => this.height(source)));
    if (height <= node.height) return;
    node.height = height;
    for (const reader of node.readers) this.#raise(reader);
  }
}

type GraphNode = { readonly id: number; height: number; sources: readonly number[]; readonly readers: GraphNode[] };
