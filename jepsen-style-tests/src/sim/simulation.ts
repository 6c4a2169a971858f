/**
 * What is left out of a run. Whatever stays draws the same numbers as in the whole run, so that a failure keeps its
 * chance to come about again while everything around it goes.
 */
export interface Limits {
  /** Only these strikes come about, by their names. Undefined: all that the seed draws. */
  readonly only?: readonly string[] | undefined;
  /** Simulated time at which the faults end at the latest. */
  readonly untilMs?: number | undefined;
  /** Longest time between one strike that comes about and the next one; what would have passed beyond it is left out. */
  readonly gapMs?: number | undefined;
  /** Clients at most. */
  readonly clients?: number | undefined;
  /** Parts of the surroundings that behave, by the names in `SimulationResult.restless`. */
  readonly calm?: readonly string[] | undefined;
}

/**
 * What a seed is run in. `raft`: Raft alone, with every fault of disks and members there is. `service`: whole nodes and
 * many clients with the SDK, with the faults of clocks, processes and links between them all.
 */
export const WORLDS = ['raft', 'service'] as const;
export type WorldName = (typeof WORLDS)[number];

/** Which run: the same request gives the same run, event by event. */
export interface SimulationRequest {
  readonly seed: number;
  /** Default: raft. */
  readonly world?: WorldName | undefined;
  /** Members at first. Default: drawn from the seed. */
  readonly nodes?: number | undefined;
  /** Kinds of faults that are drawn. Default: those that the seed picks. */
  readonly faults?: readonly string[] | undefined;
  readonly limits?: Limits | undefined;
}

/** A fault that came about. Its name is the same whatever else is left out of the run. */
export interface Strike {
  readonly name: string;
  readonly what: string;
}

export interface Failure {
  readonly promise: string;
  /** A check found it. Otherwise it is an error of the code, or of the simulator, and its stack tells where. */
  readonly isForeseen: boolean;
  readonly message: string;
  readonly stack: string;
  /** The last events in words, oldest first. */
  readonly events: readonly string[];
}

export interface SimulationResult {
  readonly seed: number;
  readonly nodes: number;
  readonly clients: number;
  readonly steps: number;
  readonly events: number;
  readonly simulatedMs: number;
  /** Simulated time at which the faults ended. Undefined where the run failed before that. */
  readonly faultsEndedMs: number | undefined;
  readonly traceHash: string;
  readonly counts: Readonly<Record<string, number>>;
  /** Faults that came about, in their order. */
  readonly strikes: readonly Strike[];
  /** Parts of the surroundings that do not behave in this run, and could. */
  readonly restless: readonly string[];
  readonly failure: Failure | undefined;
}

/** Sees an event in words as it happens: who did it, and what in one phrase without the details. */
export type Print = (line: string, who: string, what: string) => void;

/** A world: one run of it. */
export type Simulate = (request: SimulationRequest, print?: Print) => Promise<SimulationResult>;
