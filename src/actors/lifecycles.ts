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

/** Of a progressive answer. */
export type ProgressiveState =
  | 'planned'
  | 'admitted'
  | 'sampling'
  | 'refining'
  | 'paused'
  | 'stopped'
  | 'exact'
  | 'cancelled'
  | 'failed';
export type ProgressiveLifecycleEvent =
  | 'admit'
  | 'step'
  | 'look'
  | 'pause'
  | 'resume'
  | 'enough'
  | 'refine'
  | 'finish'
  | 'cancel'
  | 'fail';

export const PROGRESSIVE_LIFECYCLE: Lifecycle<ProgressiveState, ProgressiveLifecycleEvent> = {
  id: 'progressive answer',
  initial: 'planned',
  states: {
    planned: {
      description: 'is bound to a position; waits for its turn',
      on: { admit: 'admitted', cancel: 'cancelled', fail: 'failed' },
    },
    admitted: {
      description: 'waits for its first step',
      on: { step: 'sampling', pause: 'paused', cancel: 'cancelled', fail: 'failed' },
    },
    sampling: {
      description: 'reads towards its first estimate',
      on: {
        look: 'refining',
        pause: 'paused',
        finish: 'exact',
        enough: 'stopped',
        cancel: 'cancelled',
        fail: 'failed',
      },
    },
    refining: {
      description: 'has shown an estimate and narrows it, after the first estimates of all others',
      on: {
        look: 'refining',
        pause: 'paused',
        enough: 'stopped',
        finish: 'exact',
        cancel: 'cancelled',
        fail: 'failed',
      },
    },
    paused: {
      description: 'keeps what it has and reads nothing until it is resumed',
      on: { resume: 'sampling', cancel: 'cancelled', fail: 'failed' },
    },
    stopped: {
      description: 'is as good as was asked for; may be refined',
      on: { refine: 'sampling', cancel: 'cancelled', fail: 'failed' },
    },
    exact: { description: 'has read every row', type: 'final' },
    cancelled: { description: 'was taken back; what it had stays valid', type: 'final' },
    failed: { description: 'has ended with an error', type: 'final' },
  },
};
