import { initialTransition, transition } from 'xstate';
import { expect, test } from 'vitest';
import {
  CHILD_LIFECYCLE,
  knowsEvent,
  machineOf,
  mermaidOf,
  nextState,
  type Lifecycle,
} from '../../src/supervisor/lifecycle.ts';
import { QUERY_LIFECYCLE, VIEW_LIFECYCLE } from '../../src/actors/lifecycles.ts';

const CHARTS = [CHILD_LIFECYCLE, QUERY_LIFECYCLE, VIEW_LIFECYCLE] as readonly Lifecycle<
  string,
  string
>[];

test('what runs is what xstate draws: every event in every state leads to the same state', async () => {
  for (const chart of CHARTS) {
    const machine = await machineOf(chart);
    expect(initialTransition(machine)[0].value).toBe(chart.initial);
    const events = new Set(
      Object.values(chart.states).flatMap((state) => Object.keys(state.on ?? {})),
    );
    for (const state of Object.keys(chart.states)) {
      for (const event of events) {
        const known = knowsEvent(chart, state, event);
        const at = machine.resolveState({ value: state, context: {} });
        const [next] = transition(machine, at, { type: event });
        expect(next.value, `${chart.id} ${state} ${event}`).toBe(
          known ? nextState(chart, state, event) : state,
        );
      }
    }
  }
});

test('every state can be reached, and the end from every state', () => {
  for (const chart of CHARTS) {
    const reach = (from: string): Set<string> => {
      const found = new Set([from]);
      for (const state of found)
        for (const to of Object.values(chart.states[state]!.on ?? {})) found.add(to!);
      return found;
    };
    expect([...reach(chart.initial)].sort()).toEqual(Object.keys(chart.states).sort());
    const ends = Object.keys(chart.states).filter((name) => chart.states[name]!.type === 'final');
    for (const state of Object.keys(chart.states))
      expect(
        ends.some((end) => reach(state).has(end)),
        `${chart.id} ${state}`,
      ).toBe(true);
  }
});

test('an event that a state does not know is an error of ours', () => {
  expect(() => nextState(CHILD_LIFECYCLE, 'ended', 'restart')).toThrow(
    'a child that is ended knows no "restart"',
  );
});

test('a chart is drawn as a Mermaid diagram', () => {
  expect(mermaidOf(VIEW_LIFECYCLE)).toContain('live --> rebuilding: broke');
});
