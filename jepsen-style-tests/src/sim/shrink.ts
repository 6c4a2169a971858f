import type { Failure, Limits, SimulationRequest, SimulationResult } from './simulation.ts';

/** A failing run that is smaller than the one it was made from, and breaks the same promise. */
export interface Shrunk {
  readonly request: SimulationRequest;
  readonly result: SimulationResult;
  /** Runs that were tried. */
  readonly runs: number;
  /** Nothing that was tried can be left out any more. False where time was over before. */
  readonly isMinimal: boolean;
}

/** Longest times between strikes that are tried, milliseconds. */
const GAPS_MS = [100, 300, 1_000, 3_000];
/** Shares of the time until the faults end that are tried, in a thousand. */
const SHARES = [0, 125, 250, 500, 750, 900];
const FEWEST_NODES = 3;

/**
 * Leaves out of a failing run whatever it does not need to break the same promise: strikes, clients, nodes, time, unrest
 * of the surroundings. Knows nothing of the world: it changes the request and looks whether `simulate` still fails.
 * `isOver` is asked before each run.
 */
export async function shrink(
  simulate: (request: SimulationRequest) => Promise<SimulationResult>,
  request: SimulationRequest,
  failed: SimulationResult,
  isOver: () => boolean,
): Promise<Shrunk> {
  const search = new Search(simulate, request, failed, isOver);
  await search.run();
  return search.found();
}

class Search {
  readonly #simulate: (request: SimulationRequest) => Promise<SimulationResult>;
  readonly #isOver: () => boolean;
  readonly #kind: string;
  #request: SimulationRequest;
  #result: SimulationResult;
  #runs = 0;
  #isMinimal = false;

  constructor(
    simulate: (request: SimulationRequest) => Promise<SimulationResult>,
    request: SimulationRequest,
    failed: SimulationResult,
    isOver: () => boolean,
  ) {
    this.#simulate = simulate;
    this.#isOver = isOver;
    this.#kind = kindOf(failed.failure);
    this.#request = request;
    this.#result = failed;
  }

  found(): Shrunk {
    const { untilMs, ...limits } = this.#limits;
    // A bound on the faults that the run does not live to see says nothing.
    const isBounded = this.#result.faultsEndedMs !== undefined && untilMs !== undefined;
    const request = { ...this.#request, limits: isBounded ? { ...limits, untilMs } : limits };
    return { request, result: this.#result, runs: this.#runs, isMinimal: this.#isMinimal };
  }

  /** Over and over: what could not go before may go when something else has gone. */
  async run(): Promise<void> {
    await this.#lastStrikes();
    let before: SimulationRequest | undefined;
    while (before !== this.#request && !this.#isOver()) {
      before = this.#request;
      // First what makes every further run a shorter one.
      await this.#calmer();
      await this.#fewerNodes();
      await this.#fewerClients();
      await this.#fewerStrikes();
      await this.#shorter();
    }
    this.#isMinimal = before === this.#request && !this.#isOver();
  }

  get #strikes(): readonly string[] {
    return this.#result.strikes.map(({ name }) => name);
  }

  /** What breaks a promise is mostly what happened last. */
  async #lastStrikes(): Promise<void> {
    const strikes = this.#strikes;
    for (let kept = 0; kept < strikes.length; kept = 2 * kept + 1)
      if (await this.#fails({ only: kept === 0 ? [] : strikes.slice(-kept) })) return;
  }

  /** Delta debugging: first large parts of the list, then smaller ones, down to single strikes. */
  async #fewerStrikes(): Promise<void> {
    let size = Math.max(1, this.#strikes.length >> 1);
    for (;;) {
      let at = 0;
      while (at < this.#strikes.length) {
        const strikes = this.#strikes;
        const rest = [...strikes.slice(0, at), ...strikes.slice(at + size)];
        // Where that part can go, another one stands in its place now.
        if (!(await this.#fails({ only: rest }))) at += size;
        if (this.#isOver()) return;
      }
      if (size === 1) break;
      size >>= 1;
    }
    // Strikes that came to nothing.
    const { only } = this.#limits;
    if (only === undefined || only.length > this.#strikes.length) await this.#fails({ only: this.#strikes });
  }

  async #calmer(): Promise<void> {
    const calm = this.#limits.calm ?? [];
    const restless = this.#result.restless.filter((part) => !calm.includes(part));
    if (restless.length === 0 || (await this.#fails({ calm: [...calm, ...restless] }))) return;
    for (const part of restless) await this.#fails({ calm: [...(this.#limits.calm ?? []), part] });
  }

  async #fewerNodes(): Promise<void> {
    for (let nodes = FEWEST_NODES; nodes < this.#result.nodes; nodes += 1) if (await this.#fails({}, nodes)) return;
  }

  async #fewerClients(): Promise<void> {
    for (let clients = 1; clients < this.#result.clients; clients += 1) if (await this.#fails({ clients })) return;
  }

  async #shorter(): Promise<void> {
    const { gapMs = Number.POSITIVE_INFINITY } = this.#limits;
    for (const gap of GAPS_MS)
      if (gap < gapMs && this.#strikes.length > 0 && (await this.#fails({ gapMs: gap }))) break;
    const { faultsEndedMs = 0 } = this.#result;
    for (const share of SHARES) {
      const untilMs = Math.floor((faultsEndedMs * share) / 1000);
      if (untilMs < faultsEndedMs && (await this.#fails({ untilMs }))) return;
    }
  }

  get #limits(): Limits {
    return this.#request.limits ?? {};
  }

  /** Whether the run that is smaller by this breaks the same promise; if so, it is the one to go on from. */
  async #fails(smaller: Limits, nodes = this.#request.nodes): Promise<boolean> {
    if (this.#isOver()) return false;
    this.#runs += 1;
    const { faultsEndedMs, simulatedMs } = this.#result;
    // What has not failed by then is not worth more time.
    const untilMs = faultsEndedMs ?? simulatedMs + 1;
    const request = { ...this.#request, nodes, limits: { ...this.#limits, untilMs, ...smaller } };
    const result = await this.#simulate(request);
    if (result.failure === undefined || kindOf(result.failure) !== this.#kind) return false;
    this.#request = request;
    this.#result = result;
    return true;
  }
}

/**
 * Failures of one kind: of the same promise, told with the same first words ("no service" is another failure than "not
 * everyone has caught up"); errors nobody foresaw by all their text. Whatever the numbers in it.
 */
function kindOf(failure: Failure | undefined): string {
  if (failure === undefined) return 'none';
  const { promise, message, isForeseen } = failure;
  const text = message.replaceAll(/\d+/g, '#');
  if (!isForeseen) return text;
  return [promise, ...text.slice(promise.length).split(' ').slice(1, 4)].join(' ');
}
