import { Tally } from '../election.ts';
import type { NodeId, Term } from '../ids.ts';
import { votersOf } from '../membership.ts';
import type { Message } from '../message.ts';
import type { NodeState } from '../node-state.ts';
import type { RoleBehaviour, Transitions } from './role.ts';

/**
 * Asks whether an election could be won before it disturbs anyone with a new term (thesis §9.6). Nothing is
 * persisted: answers to a pre-vote promise nothing.
 */
export class PreCandidate implements RoleBehaviour {
  readonly #state: NodeState;
  readonly #transitions: Transitions;
  readonly #tally = new Tally();

  constructor(state: NodeState, transitions: Transitions) {
    this.#state = state;
    this.#transitions = transitions;
  }

  /** Asks the others; a single voter goes on at once. */
  start(): void {
    const { id, term, log, configuration } = this.#state;
    this.#tally.record(id, true);
    for (const to of votersOf(configuration)) {
      if (to === id) continue;
      const nextTerm = (term + 1) as Term;
      this.#state.send({
        type: 'vote-request',
        from: id,
        to,
        term: nextTerm,
        preVote: true,
        lastLogIndex: log.lastIndex,
        lastLogTerm: log.lastTerm,
        transfer: false,
      });
    }
    this.#decide();
  }

  receive(message: Message): void {
    if (message.type === 'append-request' || message.type === 'heartbeat' || message.type === 'snapshot-request') {
      this.#transitions.followAndReceive(message);
    } else if (message.type === 'timeout-now') {
      if (this.#state.canCampaign) this.#transitions.becomeCandidate({ isTransfer: true });
    } else if (message.type === 'vote-response' && message.preVote) {
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
    // A pre-vote waits for no write.
  }

  linkClosed(_peer: NodeId): void {
    // It follows nobody.
  }

  #decide(): void {
    const result = this.#tally.result(this.#state.configuration);
    if (result === 'won') this.#transitions.becomeCandidate({ isTransfer: false });
    else if (result === 'lost') this.#transitions.becomeFollower(this.#state.term, undefined);
  }
}
