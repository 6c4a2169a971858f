import { Tally } from '../election.ts';
import type { NodeId, Term } from '../ids.ts';
import { votersOf } from '../membership.ts';
import type { Message } from '../message.ts';
import type { NodeState } from '../node-state.ts';
import type { RoleBehaviour, Transitions } from './role.ts';

/**
 * Campaigns in a new term (§5.2). Its vote requests go out, and its own vote counts, only when the term, the vote
 * and the whole log are durable. Sending the requests earlier would be unsafe, not only hasty: a candidate that
 * crashed and lost the end of its log could campaign again in the same term, and win with votes that were given
 * to the longer log.
 */
export class Candidate implements RoleBehaviour {
  readonly #state: NodeState;
  readonly #transitions: Transitions;
  readonly #tally = new Tally();
  #ownVoteWrite = 0;
  #isOwnVoteCounted = false;

  constructor(state: NodeState, transitions: Transitions) {
    this.#state = state;
    this.#transitions = transitions;
  }

  start(isTransfer: boolean): void {
    const state = this.#state;
    const { id, log, configuration } = state;
    state.enterTerm((state.term + 1) as Term);
    state.vote(id);
    state.trace({ type: 'role' });
    this.#ownVoteWrite = state.lane.coveringWrite(log);
    for (const to of votersOf(configuration)) {
      if (to === id) continue;
      state.sendWhenDurable({
        type: 'vote-request',
        from: id,
        to,
        term: state.term,
        preVote: false,
        lastLogIndex: log.lastIndex,
        lastLogTerm: log.lastTerm,
        transfer: isTransfer,
      });
    }
  }

  receive(message: Message): void {
    if (message.type === 'append-request' || message.type === 'heartbeat' || message.type === 'snapshot-request') {
      this.#transitions.followAndReceive(message);
    } else if (message.type === 'vote-response' && !message.preVote) {
      this.#tally.record(message.from, message.granted);
      this.#decide();
    }
  }

  tick(): void {
    if (this.#state.nowMs >= this.#state.timer.deadlineMs) this.#transitions.preCampaign();
  }

  deadlineMs(): number {
    return this.#state.timer.deadlineMs;
  }

  written(): void {
    const state = this.#state;
    if (this.#isOwnVoteCounted || !state.lane.isDurable(this.#ownVoteWrite)) return;
    this.#isOwnVoteCounted = true;
    // The voters' time starts now, when they are asked: a slow disk must not use it up (row 13).
    state.timer.redraw(state.nowMs);
    this.#tally.record(state.id, true);
    this.#decide();
  }

  linkClosed(_peer: NodeId): void {
    // It follows nobody.
  }

  #decide(): void {
    const result = this.#tally.result(this.#state.configuration);
    if (result === 'won') this.#transitions.becomeLeader();
    else if (result === 'lost') this.#transitions.becomeFollower(this.#state.term, undefined);
  }
}
