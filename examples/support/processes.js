// Starting the processes of an example, reading what they say (one JSON line an event), telling the story, checking it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const children = new Set();
const failures = [];

/** Starts a script of the example; `onEvent` sees each event and the process. `ended` resolves with all events. */
export function startProcess(script, options, onEvent = () => {}) {
  const child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.add(child);
  const events = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const event = JSON.parse(line);
    events.push(event);
    onEvent(event, child);
  });
  const ended = once(child, 'close').then(() => {
    children.delete(child);
    return events;
  });
  return { child, ended };
}

export function chapter(title) {
  console.log(`\n── ${title}`);
}

export function tell(line) {
  console.log(`   ${line}`);
}

export function check(claim, holds) {
  console.log(`   ${holds ? '✓' : '✗'} ${claim}`);
  if (!holds) failures.push(claim);
}

/** Runs the story, cleans up whatever happens, and ends the process with 1 if anything was not as promised. */
export async function play(story, cleanUp) {
  try {
    await story();
  } catch (error) {
    failures.push(String(error?.stack ?? error));
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await cleanUp();
  }
  chapter(failures.length === 0 ? 'As promised.' : `NOT as promised:\n   ${failures.join('\n   ')}`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
