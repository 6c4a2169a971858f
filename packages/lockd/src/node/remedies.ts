/** What brings a node back whose data directory must not be used any more. The others have everything it should have. */
export function damageRemedy(name: string, dataDir: string): string {
  return `Stop this node, move ${dataDir} away, start it again, and run: lockd member replace ${name}`;
}
