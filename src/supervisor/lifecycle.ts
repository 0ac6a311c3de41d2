import { InvariantError } from '../base/errors.ts';

/**
 * A lifecycle as a chart: states, and what leads from one to another. It is plain data in the form of an xstate machine, so
 * that tools draw it (`machineOf`); at run time it is a look-up of some nanoseconds, which xstate is not.
 */
export type Lifecycle<State extends string, Event extends string> = {
  readonly id: string;
  readonly initial: State;
  readonly states: {
    readonly [Name in State]: {
      readonly description: string;
      /** Nothing leads out of it. */
      readonly type?: 'final';
      readonly on?: { readonly [Happening in Event]?: State };
    };
  };
};

/** Where `event` leads from `state`; an InvariantError where the chart knows no way. */
export function nextState<State extends string, Event extends string>(
  lifecycle: Lifecycle<State, Event>,
  state: State,
  event: NoInfer<Event>,
): State {
  const next = lifecycle.states[state].on?.[event];
  if (next === undefined)
    throw new InvariantError(`a ${lifecycle.id} that is ${state} knows no "${event}"`);
  return next;
}

export function knowsEvent<State extends string, Event extends string>(
  lifecycle: Lifecycle<State, Event>,
  state: State,
  event: NoInfer<Event>,
): boolean {
  return lifecycle.states[state].on?.[event] !== undefined;
}

/**
 * The chart as an xstate machine. Loaded when asked for: a database opens without it.
 *
 * @internal Left out of the declarations: xstate's own do not pass every check that users may have on.
 */
export async function machineOf<State extends string, Event extends string>(
  lifecycle: Lifecycle<State, Event>,
): Promise<import('xstate').AnyStateMachine> {
  const { createMachine } = await import('xstate');
  return createMachine(structuredClone(lifecycle) as Parameters<typeof createMachine>[0]);
}

/** The chart as a Mermaid state diagram, for documentation and the console. */
export function mermaidOf<State extends string, Event extends string>(
  lifecycle: Lifecycle<State, Event>,
): string {
  const lines = ['stateDiagram-v2', `  [*] --> ${lifecycle.initial}`];
  for (const [name, state] of Object.entries<Lifecycle<State, Event>['states'][State]>(
    lifecycle.states,
  )) {
    lines.push(`  ${name}: ${name} – ${state.description}`);
    for (const [event, to] of Object.entries(state.on ?? {}))
      lines.push(`  ${name} --> ${String(to)}: ${event}`);
    if (state.type === 'final') lines.push(`  ${name} --> [*]`);
  }
  return lines.join('\n');
}

/** Of a supervised child. */
export type ChildState = 'starting' | 'running' | 'waiting' | 'stopping' | 'ended';
export type ChildEvent = 'started' | 'failed' | 'restart' | 'stop' | 'ended';

export const CHILD_LIFECYCLE: Lifecycle<ChildState, ChildEvent> = {
  id: 'child',
  initial: 'starting',
  states: {
    starting: {
      description: 'its first step, which builds its state, has not run',
      on: {
        started: 'running',
        failed: 'waiting',
        restart: 'starting',
        stop: 'stopping',
        ended: 'ended',
      },
    },
    running: {
      description: 'takes messages',
      on: { failed: 'waiting', restart: 'starting', stop: 'stopping', ended: 'ended' },
    },
    waiting: {
      description: 'has failed, or a sibling did; keeps its mailbox until it is restarted',
      on: { restart: 'starting', failed: 'waiting', stop: 'stopping', ended: 'ended' },
    },
    stopping: {
      description: 'was asked to stop and finishes what it must',
      on: { ended: 'ended', stop: 'stopping', started: 'stopping', failed: 'stopping' },
    },
    ended: { description: 'will not come back', type: 'final' },
  },
};
