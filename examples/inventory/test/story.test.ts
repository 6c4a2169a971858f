import { expectStory } from '../../story.ts';

expectStory(new URL('../main.js', import.meta.url));
