export function propertySeed(): number;
export function seedFromCommit(): number | undefined;
