import type { Cluster } from '../cluster/cluster.ts';
import type { FakeClock } from '../cluster/fake-clock.ts';
import type { Namespaces } from '../cluster/namespaces.ts';
import type { Random } from '../random.ts';

/** A client process as a nemesis sees it. */
export interface Victim {
  readonly name: string;
  readonly pid: number | undefined;
  /** SIGSTOP; resolves to whether the kernel shows it stopped. */
  pause(): Promise<boolean>;
  resume(): void;
  /** kill -9, and another one takes its place. */
  killAndReplace(): Promise<void>;
  /** Keeps its event loop busy; resolves to for how long it was. */
  block(ms: number): Promise<number | undefined>;
  /** Its wall clock, where that is in our hands. */
  readonly clock: FakeClock | undefined;
  /** What its wall clock says, in milliseconds since 1970. */
  reportedWallMs(): Promise<number | undefined>;
}

export interface FaultContext {
  readonly cluster: Cluster;
  readonly ttlMs: number;
  /** Clients that may be harmed now. */
  readonly victims: () => readonly Victim[];
  /** A client that is between reading and writing what a lock protects, when there is one within `timeoutMs`. */
  readonly holderAtWork: (timeoutMs: number) => Promise<Victim | undefined>;
  /** How often the protected set was written by anybody but `client` so far. */
  readonly writesByOthers: (client: string) => number;
  /** Ends early when the run does. */
  readonly signal: AbortSignal;
  /** The wall clocks of nodes and clients are in our hands. */
  readonly hasFakeClocks: boolean;
  /** The nodes' own networks, or why they have none. */
  readonly packets: Namespaces | string;
  /** A small volume for a node's data, where there is one: its directory and the node on it. */
  readonly smallVolume: { readonly node: string; readonly directory: string } | undefined;
}

export interface FaultOutcome {
  readonly target: string;
  /** The fault did what it is for: it is not enough that it was ordered. */
  readonly worked: boolean;
  /** What shows that, in words. */
  readonly evidence: string;
}

/** How long a cluster with a majority may take to have a leader again. */
export const LEADER_WITHIN_MS = 15_000;

/** Of a fault that is for the leader. */
export const NOBODY_LEADS: FaultOutcome = {
  target: 'leader',
  worked: false,
  evidence: 'nobody led when it should have begun',
};

export interface Fault {
  readonly kind: string;
  /** Server faults run one after another, beside one client fault at a time. */
  readonly track: 'server' | 'client';
  readonly what: string;
  /** Why it cannot run here; `undefined` when it can. */
  unavailable?(context: FaultContext): string | undefined;
  /** Breaks something, checks that it broke, and heals it. */
  run(context: FaultContext, random: Random): Promise<FaultOutcome>;
}

/** What a run keeps of one fault. */
export interface FaultRecord extends FaultOutcome {
  readonly kind: string;
  readonly track: 'server' | 'client';
  readonly startNs: number;
  readonly endNs: number;
}
