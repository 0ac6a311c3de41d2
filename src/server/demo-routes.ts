import type { FastifyInstance } from 'fastify';
import { DbError } from '../base/errors.ts';
import { bodyObject } from './request.ts';

/** The feed of the demo, as the page sees and steers it. */
export type DemoState = {
  /** `starting` until there are tables, `loading` while the past streams in, then `replaying`; `ended` when the feed broke. */
  readonly phase: 'starting' | 'loading' | 'replaying' | 'ended';
  /** Seconds of the feed a second; 0 is paused. */
  readonly speed: number;
  /** Of the past: how much is there, and how much there will be. */
  readonly loaded: number;
  readonly toLoad: number;
  /** Rows still to come in this round of the replay. */
  readonly held: number;
};

export type DemoControls = {
  state(): DemoState;
  setSpeed(speed: number): void;
};

const SPEED_MAX = 1_000_000;

export function demoRoutes(app: FastifyInstance, demo: DemoControls | undefined): void {
  const running = (): DemoControls => {
    if (demo !== undefined) return demo;
    throw new DbError('42704', 'no demo is running', { hint: 'Start the server with --demo.' });
  };
  app.get('/v1/demo', async () => running().state());
  app.put('/v1/demo', async (request) => {
    const controls = running();
    const { speed } = bodyObject<{ speed?: unknown }>(request.body);
    if (typeof speed !== 'number' || !(speed >= 0 && speed <= SPEED_MAX)) {
      throw new DbError('22023', `"speed" is not a number from 0 to ${SPEED_MAX}`, {
        field: 'speed',
        hint: 'Seconds of the feed a second: 0 pauses, 3600 is an hour a second.',
      });
    }
    controls.setSpeed(speed);
    return controls.state();
  });
}
