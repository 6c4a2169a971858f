import type { NodeId } from '../core/ids.ts';
import { NO_MEMBERS } from '../core/membership.ts';
import { isFromLeader, type Message } from '../core/message.ts';
import type { Condition } from './condition.ts';
import type { Joining, JoinStanding } from './joining.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { MemberRegistration } from './member-registration.ts';
import type { OwnDirectory } from './own-directory.ts';
import type { PeerIdentities } from './peer-identities.ts';
import type { JoinProbe, PeerIdentity, PeerVerdict } from './transport.ts';
import type { TurnLoop } from './turn-loop.ts';

export interface IntroductionsOptions {
  readonly directory: OwnDirectory;
  readonly condition: Condition;
  readonly identities: PeerIdentities;
  readonly registration: MemberRegistration;
  readonly joining: Joining;
  readonly loop: TurnLoop;
  readonly lifecycle: Lifecycle;
  readonly nowMs: () => number;
}

/** What nodes say to each other about who they are: who comes with which directory, who refuses this node, who asks to join. */
export class Introductions {
  readonly #options: IntroductionsOptions;
  /** The condition's reason is that this peer refuses the link. */
  #refusedBy: NodeId | undefined;

  constructor(options: IntroductionsOptions) {
    this.#options = options;
  }

  /** An empty node asks the others, if it is time. */
  askAround(nowMs: number): void {
    const { joining, identities, loop } = this.#options;
    if (joining.askAround(identities.names(), this.#standing(), nowMs)) loop.wake();
  }

  onProbe(from: NodeId, probe: JoinProbe): void {
    const { directory, condition, joining, loop, nowMs } = this.#options;
    if (directory.recovered === undefined || condition.isFinal) return;
    this.#remember(from, probe.identity);
    joining.heard(from, probe, nowMs());
    if (probe.type === 'join-request') joining.answer(from, probe.identity, this.#standing());
    loop.wake();
  }

  onPeerIdentity(peer: NodeId, identity: PeerIdentity): PeerVerdict {
    const { directory, condition, identities, loop } = this.#options;
    const { leader, configuration } = loop.status();
    const verdict = identities.judge(peer, identity, {
      clusterId: directory.clusterId,
      configuration: loop.node === undefined ? NO_MEMBERS : configuration,
      leader,
      isConfigurationConfirmed: loop.node?.isConfigurationConfirmed ?? false,
    });
    if (!verdict.accept) return verdict;
    this.#remember(peer, identity);
    if (this.#refusedBy === peer) {
      this.#refusedBy = undefined;
      if (condition.current === 'serving') condition.set('serving', undefined);
    }
    loop.wake();
    return verdict;
  }

  onRefused(peer: NodeId, code: string, reason: string): void {
    const { condition, joining, loop, lifecycle, nowMs } = this.#options;
    if (condition.isFinal) return;
    if (code === 'removed') {
      this.#removed(peer, reason);
      return;
    }
    if (code !== 'rolled-back') {
      if (code === 'another-instance') joining.disowned(peer, nowMs());
      const { voters } = loop.status().configuration;
      // Strangers and those that have left have no say.
      if (voters.length > 0 && !voters.includes(peer)) return;
      this.#refusedBy = peer;
      condition.set(condition.current, `${peer} refuses this node: ${reason}`);
      loop.wake();
      return;
    }
    lifecycle.refuseDirectory(`${peer} says that this data directory was rolled back to an older copy: ${reason}`);
  }

  /** To a node that others say was removed: a leader that sends to it says that it was not. */
  heardWhileRemoved(message: Message): void {
    const { condition, loop } = this.#options;
    if (isFromLeader(message) && message.term >= loop.status().term) condition.set('serving', undefined);
  }

  /**
   * Another node says that this one is no member any more. The other may be behind: a member that left and was added
   * again is told so by who has heard of the first only. So this is a word to people, and no verdict: the node goes on
   * listening, and takes it back when a leader sends to it.
   */
  #removed(peer: NodeId, reason: string): void {
    const { condition, loop } = this.#options;
    const { leader } = loop.status();
    // Somebody else leads it still: then it is the other that is behind.
    if (loop.node === undefined || (leader !== undefined && leader !== peer)) return;
    condition.set('removed', `${peer} says: ${reason}`);
  }

  #remember(peer: NodeId, identity: PeerIdentity): void {
    const { identities, registration } = this.#options;
    if (identities.remember(peer, identity)) registration.lookAgain();
  }

  #standing(): JoinStanding {
    const { directory, loop } = this.#options;
    const isEmpty = directory.recovered?.isEmpty !== false;
    return { identity: directory.identity(), isEmpty, status: loop.node?.status() };
  }
}
