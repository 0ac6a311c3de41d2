/**
 * Bugs to plant: each replaces one piece of text, found exactly once, of one built file. Mistakes that people make, in every room that a
 * commit goes through.
 */
export const BUGS = [
  // ── Views
  {
    name: 'a dropped delta',
    quick: true,
    how: 'a view whose tables changed in one commit takes in the changes of the first only',
    file: 'actors/maintained-view.js',
    find: 'if (changes === undefined || changes.length === 0)',
    put: 'if (hasBegun || changes === undefined || changes.length === 0)',
  },
  {
    name: 'a view before its table',
    quick: true,
    how: 'views run before those they read',
    file: 'actors/database-state.js',
    find: 'a.height - b.height',
    put: 'b.height - a.height',
  },
  {
    name: 'a lost undo',
    quick: true,
    how: "a view's operators keep what was undone in its rows",
    file: 'actors/maintained-view.js',
    find: /(undo\(\) \{[^}]*?(?:\{[^}]*\}[^}]*?)*?)this\.#parts\.plan\.rollback\(\);/,
    put: '$1',
  },
  {
    name: 'an update that leaves its old row',
    how: 'of an update a view hears the new row only',
    file: 'actors/maintained-view.js',
    find: 'this.#parts.plan.push(source, delta);',
    put: 'this.#parts.plan.push(source, delta.inserted === undefined ? delta : { ...delta, deleted: undefined });',
  },
  {
    name: 'a view that is not published',
    how: "a view's rows are staged with the commit and never published",
    file: 'actors/commit-turn.js',
    find: 'staged.note(view, view);',
    put: '',
  },
  {
    name: 'a view that nobody hears',
    how: "a view's own changes do not reach the views above it",
    file: 'actors/commit-turn.js',
    find: /for \(const delta of view\.stagedDeltas\)\s*staged\.addDelta\(view\.relation, delta\);/,
    put: '',
  },
  {
    name: 'a swallowed exception',
    how: 'an expression that fails in a view is passed over, and the view is left as it was',
    file: 'actors/commit-turn.js',
    find: /if \(cause instanceof DbError\)\s*throw cause;(\s*\/\/ Our fault)/,
    put: 'if (cause instanceof DbError) continue;$1',
  },
  {
    name: 'a group that was undone',
    how: 'groups keep what an undone commit had added to them',
    file: 'views/delta-group.js',
    find: 'back[row] = weights === undefined ? -1 : -weights[row];',
    put: 'back[row] = 0;',
  },
  {
    name: 'off by one in a group',
    how: 'a group of one row counts as empty',
    file: 'views/delta-group.js',
    find: 'const isLive = this.#keys.length === 0 || this.#rowCounts[groups[at]] > 0;',
    put: 'const isLive = this.#keys.length === 0 || this.#rowCounts[groups[at]] > 1;',
  },
  {
    name: 'a sum that only grows',
    how: 'rows that leave are added to aggregates instead of taken away',
    file: 'views/delta-group.js',
    find: 'this.#state.add(ids, rowCount, args, copies);',
    put: 'this.#state.add(ids, rowCount, args, copies?.map((weight) => Math.abs(weight)));',
  },
  {
    name: 'a join that forgets a row',
    how: 'a join remembers all rows of a batch but the first',
    file: 'views/delta-join.js',
    find: /(#finishInput\(\) \{[\s\S]*?)for \(let row = 0;/,
    put: '$1for (let row = 1;',
  },
  {
    name: 'a join of one side',
    how: 'a join reads the changes of its left side only',
    file: 'views/delta-join.js',
    find: /if \(this\.#reading === 1\) \{/,
    put: 'if (this.#reading <= 1) {',
  },
  {
    name: 'a view that stays broken',
    how: 'nobody makes a view anew that has failed',
    file: 'actors/housekeeping.js',
    find: /metrics\.viewFailed\(\);\s*tree\.tellView\(view\.relation, REMAKE\);/,
    put: 'metrics.viewFailed();',
  },
  {
    name: 'a view made of what is not there yet',
    how: 'a view is filled while commits on its tables are on their way',
    file: 'actors/commit-turn.js',
    find: 'const settles = request.settled && this.#unacknowledged.length > 0;',
    put: 'request = { ...request, settled: false }; const settles = false;',
  },
  // ── The commit turn
  {
    name: 'publish before acknowledgement',
    how: 'a commit is visible, and told to its writer, when it was handed to the journal',
    file: 'actors/commit-log.js',
    find: 'this.#outcomes.push(outcome);',
    put: `this.told = (this.told ?? this.#acknowledged) + 1;
        outcome.acknowledged(this.told);
        outcome = { acknowledged() {}, failed() {}, refused() {} };
        this.#outcomes.push(outcome);`,
  },
  {
    name: 'a refused commit that stays',
    how: 'what was staged before a commit failed is not undone',
    file: 'actors/commit-turn.js',
    find: 'this.#undo(staging.staged);',
    put: '',
  },
  {
    name: 'a commit without room that stays',
    how: 'a commit that the journal does not take in stays in the tables',
    file: 'actors/commit-turn.js',
    find: /this\.#unacknowledged\.pop\(\);\s*this\.#undo\(staged\);/,
    put: 'this.#unacknowledged.pop();',
  },
  {
    name: 'a commit that passes another',
    how: 'a commit does not wait for one that is being staged in steps',
    file: 'actors/commit-turn.js',
    find: 'this.#claimed.add(relation);',
    put: '',
  },
  {
    name: 'a waiter that is forgotten',
    how: 'a commit that waits for another is not told when that has ended',
    file: 'actors/commit-turn.js',
    find: 'this.#events.resubmit(request);',
    put: '',
  },
  // ── Transactions
  {
    name: 'a stale read',
    how: 'materialized views are read as they were one commit ago',
    file: 'actors/session.js',
    find: 'return entry.data.snapshot();',
    put: `return (
            (entry.kind === 'materializedView'
                ? entry.data.snapshotAt(this.engine.visiblePosition - 1)
                : undefined) ?? entry.data.snapshot()
        );`,
  },
  {
    name: 'a snapshot that moves',
    how: 'a transaction at REPEATABLE READ reads what is newest',
    file: 'actors/transaction.js',
    find: /const base = this\.position === undefined \? entry\.data\.snapshot\(\) : entry\.data\.snapshotAt\(this\.position\);/,
    put: 'const base = entry.data.snapshot();',
  },
  {
    name: 'a snapshot one commit late',
    how: 'a table as of a position is that of the position after it',
    file: 'columns/table.js',
    find: /(snapshotAt\(position\) \{[\s\S]*?)this\.#log\.firstAfter\(position\)/,
    put: '$1this.#log.firstAfter(position + 1)',
  },
  {
    name: 'a read set that nobody tests',
    how: 'a serializable transaction commits whatever was changed that it has read',
    file: 'actors/transaction.js',
    find: 'if (this.doomed !== undefined || this.#reads.size === 0)',
    put: 'if (true)',
  },
  {
    name: 'a phantom',
    how: 'rows that arrive do not count as changes of what was read',
    file: 'actors/transaction.js',
    find: ' || hits(reads, delta.inserted)',
    put: '',
  },
  {
    name: "a view without the transaction's own writes",
    how: 'inside a transaction a view is read as if nothing had been written',
    file: 'actors/transaction.js',
    find: /if \(this\.#overlays\.get\(source\)\?\.isEmpty === false \|\| this\.#private\.has\(source\)\)/,
    put: 'if (false)',
  },
  {
    name: 'a row that two claim',
    how: 'a row that another transaction has written is claimed all the same',
    file: 'actors/claims.js',
    find: /(function takeKeys\([\s\S]*?)if \(holder !== undefined\)\s*return key;/,
    put: '$1',
  },
  {
    name: 'a deadlock',
    how: 'who waits for himself waits',
    file: 'actors/claims.js',
    find: /if \(next === owner\)/,
    put: 'if (false)',
  },
  {
    name: 'claims that are kept',
    how: 'a transaction that has ended goes on to claim what it wrote',
    file: 'actors/session.js',
    find: /transaction\.close\(\);\s*this\.engine\.claims\.release\(transaction\.owner\);/,
    put: 'transaction.close();',
  },
  {
    name: 'a key that is there twice',
    how: 'a unique index takes a key that it has',
    file: 'columns/index-set.js',
    find: /(insertRange\(rows, firstRowId\) \{[\s\S]*?)isDone = refused < 0;/,
    put: '$1isDone = true;',
  },
  {
    name: 'a write that is done twice',
    how: 'the key of a write is not remembered',
    file: 'actors/idempotency.js',
    find: /const running = this\.#running\.get\(key\);([\s\S]*?)const before = this\.#known\.get\(key\);/,
    put: 'const before = undefined;',
  },
  // ── Subscriptions
  {
    name: 'a change that is not told',
    how: 'a subscriber who is told one change counts as told of all',
    file: 'actors/subscriptions.js',
    find: 'const position = merge ? head : taken[0].position;',
    put: 'const position = head;',
  },
  {
    name: 'off by one after a snapshot',
    how: 'after its snapshot a subscriber is told the last change in it once more',
    file: 'actors/subscriptions.js',
    find: 'this.#position = open.position;',
    put: 'this.#position = open.position - 1;',
  },
  {
    name: 'a subscriber who sleeps',
    how: 'a subscriber who waits is not woken by changes',
    file: 'actors/subscriptions.js',
    find: /this\.#position = Math\.max\(this\.#position, source\.visiblePosition\(\)\);(\s*this\.#toldPosition = this\.#position;\s*this\.#deliver\(\{ kind: 'progress')/,
    put: 'this.#position = Math.max(this.#position, source.visiblePosition()) + 1;$1',
  },
  // ── The journal
  {
    name: 'no fsync',
    how: 'commits are acknowledged before they are on stable storage',
    file: 'journal/file-backend.js',
    find: /if \(this\.#fsync === 'always'\)\s*await this\.#sync\(\);/,
    put: '',
  },
  {
    name: 'acknowledged before it is written',
    how: 'groups are acknowledged, then written',
    file: 'journal/file-backend.js',
    find: 'const failure = this.#failure ?? (await this.#writeRound(round));',
    put: `if (this.#failure === undefined)
                for (const { group, report } of round) {
                    this.#acknowledged = group.records.at(-1).position;
                    report(undefined);
                }
            const failure = this.#failure ?? (await this.#writeRound(round));
            if (failure === undefined) continue;`,
  },
  {
    name: 'a name that is not synced',
    how: "a new file's name is not made to survive a power loss",
    file: 'journal/file-backend.js',
    find: 'await disk.syncDirectory(directory);',
    put: '',
  },
  {
    name: 'a bit that nobody notices',
    how: 'neither checksums nor seals are compared',
    file: 'journal/frame.js',
    also: [{ find: 'if (Buffer.compare(chain, frame.body) !== 0)', put: 'if (false)' }],
    find: /if \(view\.getUint32\(40, true\) !== checksum\(frame\)\)/,
    put: 'if (false)',
  },
  {
    name: 'a recovery that stops one record early',
    quick: true,
    how: 'the newest record is not applied',
    file: 'actors/recovery.js',
    find: /engine\.turn\.replay\((.*?), record\.position, (.*?)\);/,
    put: 'if (record.position < journal.acknowledged) engine.turn.replay($1, record.position, $2);',
  },
  {
    name: 'a sync that failed and was forgotten',
    how: 'after a sync that failed the journal goes on',
    file: 'journal/file-backend.js',
    find: 'throw syncFailed(cause);\n        }\n        this.#durable = written;',
    put: '}\n        this.#durable = written;',
  },
  // ── Tables that are made anew
  {
    name: 'a table made anew without its last record',
    how: 'the newest record that concerns a table which broke is not applied again',
    file: 'actors/table-rebuild.js',
    find: 'if (record.position > upTo)',
    put: 'if (record.position >= upTo)',
  },
  // ── The message tower
  {
    name: 'an unbounded lane',
    how: 'a lane takes in whatever comes',
    file: 'mailbox/lane.js',
    find: /fits\(bytes, limits\) \{\s*return/,
    put: 'fits(bytes, limits) {\n        return true ||',
  },
  {
    name: 'a lane that is a stack',
    how: 'of two messages that wait the newer one is taken',
    file: 'mailbox/lane.js',
    find: /shift\(keyOf\) \{\s*const slot = this\.#head & \(this\.#items\.length - 1\);/,
    put: `shift(keyOf) {
        if (this.count > 1 && keyOf === undefined) {
            const [a, b] = [this.#head & (this.#items.length - 1), (this.#head + 1) & (this.#items.length - 1)];
            [this.#items[a], this.#items[b]] = [this.#items[b], this.#items[a]];
        }
        const slot = this.#head & (this.#items.length - 1);`,
  },
  {
    name: 'a stream of chance that is used again',
    how: 'ids are drawn from the beginning of the same stream each time',
    file: 'actors/engine.js',
    find: 'bytes[index] = idRandom.below(256);',
    put: "bytes[index] = random.split('ids').below(256);",
  },
  {
    name: 'memory that is not given back',
    how: "a join's account is not settled when it ends",
    file: 'views/delta-join.js',
    find: /(close\(\) \{[\s\S]*?)this\.#lease\.close\(\);/,
    put: '$1',
  },
];

/** How often a patch fits a source: once, or it has to be adapted. */
export function placesOf({ find }, source) {
  return typeof find === 'string'
    ? source.split(find).length - 1
    : [...source.matchAll(new RegExp(find, 'g'))].length;
}
