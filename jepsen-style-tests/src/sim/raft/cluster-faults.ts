import type { Limits, Strike } from '../simulation.ts';
import type { Chance } from '../world/chance.ts';
import { CHAOS_US } from '../world/run.ts';
import { type Drawn, Strikes } from '../world/strikes.ts';
import { Losses } from './losses.ts';
import { LostData } from './lost-data.ts';
import type { Member, MemberSurroundings } from './member.ts';
import { MemberFaults } from './member-faults.ts';
import { Membership, type MembershipHooks } from './membership.ts';

/** What of a seed's profile says how often what goes wrong. */
interface FaultProfile {
  /** Founding members. */
  readonly nodes: number;
  readonly faults: ReadonlySet<string>;
  readonly faultEveryUs: number;
}

/** What of a run the faults draw from, and what is left out of it. */
export interface FaultDrawing {
  readonly chance: Chance;
  readonly ambushChance: Chance;
  readonly limits: Limits;
}

/** What goes wrong with the members of either world, and who looks after them: put together. */
export class ClusterFaults<Node extends Member> {
  readonly strikes: Strikes;
  readonly members: MemberFaults<Node>;
  readonly losses: Losses<Node>;
  readonly lostData: LostData<Node>;
  readonly membership: Membership<Node>;

  /** `names`: of all faults of the world. */
  constructor(
    around: MemberSurroundings,
    nodes: readonly Node[],
    profile: FaultProfile,
    names: readonly string[],
    { chance, ambushChance, limits }: FaultDrawing,
    hooks: MembershipHooks<Node>,
  ) {
    const strikes = new Strikes(around, {
      enabled: names.filter((name) => profile.faults.has(name)),
      everyUs: profile.faultEveryUs,
      untilUs: CHAOS_US,
      chance,
      ambushChance,
      limits,
    });
    const members = new MemberFaults(around.world, strikes, nodes);
    const losses = new Losses(around.checker, nodes);
    this.strikes = strikes;
    this.members = members;
    this.losses = losses;
    this.lostData = new LostData(around, strikes, members, losses, nodes.slice(0, profile.nodes));
    this.membership = new Membership(around, strikes, nodes, losses, chance.split('operator'), hooks);
  }

  /** What came about, in order. */
  get cameAbout(): readonly Strike[] {
    return this.strikes.cameAbout;
  }

  /** Nodes that the cluster cannot count on any more. */
  get lost(): ReadonlySet<Node> {
    return this.losses.lost;
  }

  /** Faults strike, and an operator looks after what they leave. */
  start(strike: (drawn: Drawn) => void): void {
    this.strikes.start((drawn) => {
      strike(drawn);
      this.membership.care();
    });
    this.membership.operate();
  }
}
