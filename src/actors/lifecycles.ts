import type { Lifecycle } from '../supervisor/lifecycle.ts';

/** Of a materialized view: what `adb.views`, `describe` and the events show. */
export type ViewState = 'building' | 'live' | 'rebuilding' | 'failed' | 'dropped';
export type ViewEvent = 'filled' | 'broke' | 'rebuilt' | 'gaveUp' | 'drop';

export const VIEW_LIFECYCLE: Lifecycle<ViewState, ViewEvent> = {
  id: 'view',
  initial: 'building',
  states: {
    building: {
      description: 'is filled from the tables it reads; nobody sees it yet',
      on: { filled: 'live', drop: 'dropped' },
    },
    live: {
      description: 'follows what it reads',
      on: { broke: 'rebuilding', gaveUp: 'failed', filled: 'live', drop: 'dropped' },
    },
    rebuilding: {
      description:
        'has failed; serves its last good rows, says how old they are, and is made anew beside them',
      on: { rebuilt: 'live', broke: 'rebuilding', gaveUp: 'failed', drop: 'dropped' },
    },
    failed: {
      description: 'could not be made anew; serves its last good rows and says how old they are',
      on: { rebuilt: 'live', broke: 'rebuilding', gaveUp: 'failed', drop: 'dropped' },
    },
    dropped: { description: 'is no more', type: 'final' },
  },
};

/** Of a query: what `adb.queries` shows. */
export type QueryState = 'queued' | 'running' | 'paused' | 'done' | 'failed' | 'cancelled';
export type QueryEvent = 'step' | 'full' | 'demand' | 'finish' | 'fail' | 'cancel';

export const QUERY_LIFECYCLE: Lifecycle<QueryState, QueryEvent> = {
  id: 'query',
  initial: 'queued',
  states: {
    queued: {
      description: 'waits for its first step',
      on: { step: 'running', fail: 'failed', cancel: 'cancelled' },
    },
    running: {
      description: 'goes on step by step',
      on: {
        step: 'running',
        full: 'paused',
        finish: 'done',
        fail: 'failed',
        cancel: 'cancelled',
      },
    },
    paused: {
      description: 'waits until its rows are taken',
      on: { demand: 'running', fail: 'failed', cancel: 'cancelled' },
    },
    done: { description: 'has given all its rows', type: 'final' },
    failed: { description: 'has ended with an error', type: 'final' },
    cancelled: { description: 'was taken back', type: 'final' },
  },
};
