import type { InitializeHook, LoadHook } from 'node:module';
import { applyEdits } from './edit.ts';
import type { PlantedBug } from './planted-bug.ts';

let planted: PlantedBug | undefined;

/** Runs in Node's thread for module hooks. */
export const initialize: InitializeHook<{ readonly bug: PlantedBug }> = ({ bug }) => {
  planted = bug;
};

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  const edits = planted?.edits.filter(({ module }) => url.endsWith(`/${module}.js`)) ?? [];
  if (edits.length === 0 || loaded.source === undefined) return loaded;
  return { ...loaded, source: applyEdits(Buffer.from(loaded.source as Uint8Array).toString(), edits) };
};
