import type { SimulationRequest } from '../simulation.ts';

/** Parts of the surroundings that a run can do without, by name, and what of the profile is another then. */
export type CalmParts<Profile> = Readonly<Record<string, (profile: Profile) => Partial<Profile>>>;

/** The profile with these parts calm. Unknown names change nothing: they may be another world's. */
export function calmed<Profile>(profile: Profile, calm: CalmParts<Profile>, parts: readonly string[]): Profile {
  return parts.reduce((calmer, part) => ({ ...calmer, ...calm[part]?.(calmer) }), profile);
}

/** Parts that would change if they were calm. */
export function restlessParts<Profile>(profile: Profile, calm: CalmParts<Profile>): string[] {
  return Object.keys(calm).filter((part) => JSON.stringify(calmed(profile, calm, [part])) !== JSON.stringify(profile));
}

/** The profile with what the request leaves out of a run. */
export function limited<Profile extends { readonly clients: number; readonly faults: ReadonlySet<string> }>(
  profile: Profile,
  calm: CalmParts<Profile>,
  { limits = {}, faults }: SimulationRequest,
): Profile {
  const { clients = profile.clients } = limits;
  return {
    ...calmed(profile, calm, limits.calm ?? []),
    clients: Math.min(clients, profile.clients),
    faults: faults === undefined ? profile.faults : new Set(faults),
  };
}
