import type { NodeId } from '../ids.ts';
import { assertNever } from '../invariant.ts';
import type { Message } from '../message.ts';
import type { NodeState } from '../node-state.ts';
import { receiveAppend, receiveHeartbeat, receiveSnapshot } from '../replica.ts';
import type { RoleBehaviour, Transitions } from './role.ts';

/** Takes the log from a leader, and waits for the sign that there is none (§5.2). Learners are followers that may not campaign. */
export class Follower implements RoleBehaviour {
  readonly #state: NodeState;
  readonly #transitions: Transitions;

  constructor(state: NodeState, transitions: Transitions) {
    this.#state = state;
    this.#transitions = transitions;
  }

  receive(message: Message): void {
    switch (message.type) {
      case 'append-request':
        // Also an append that will be refused keeps this node quiet: catching up may take long (row 12).
        this.#heardFrom(message.from);
        receiveAppend(this.#state, message);
        return;
      case 'heartbeat':
        this.#heardFrom(message.from);
        receiveHeartbeat(this.#state, message);
        return;
      case 'snapshot-request':
        this.#heardFrom(message.from);
        receiveSnapshot(this.#state, message);
        return;
      case 'timeout-now':
        if (this.#state.canCampaign) this.#transitions.becomeCandidate({ isTransfer: true });
        return;
      case 'vote-request':
      case 'vote-response':
      case 'append-response':
      case 'heartbeat-response':
        return;
      default:
        assertNever(message);
    }
  }

  tick(): void {
    const { timer, nowMs, canCampaign } = this.#state;
    if (nowMs < timer.deadlineMs) return;
    if (canCampaign) {
      this.#transitions.preCampaign();
      return;
    }
    this.#state.leader = undefined;
    timer.startAttempt(nowMs);
  }

  deadlineMs(): number {
    return this.#state.timer.deadlineMs;
  }

  written(): void {
    // Nothing waits here but held messages, which the node releases in every role.
  }

  /** A closed link is evidence that the leader is gone, silence is not: forget it, and campaign soon. */
  linkClosed(peer: NodeId): void {
    if (peer !== this.#state.leader) return;
    this.#state.leader = undefined;
    this.#state.timer.hurry(this.#state.nowMs);
  }

  #heardFrom(leader: NodeId): void {
    const state = this.#state;
    state.leader = leader;
    state.isMissed = false;
    state.leaderHeardMs = state.nowMs;
    state.timer.heardFromLeader(state.nowMs);
  }
}
