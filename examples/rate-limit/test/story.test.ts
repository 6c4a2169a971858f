import { expectStory } from '@lockd/example-support/story';

expectStory(new URL('../main.js', import.meta.url));
