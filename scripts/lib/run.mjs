import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { readJson, root } from './root.mjs';

const onWindows = process.platform === 'win32';

const binary = (name) => join(root, 'node_modules', '.bin', onWindows ? `${name}.cmd` : name);

/** Runs a command from the root and resolves with its exit code; 127 when it cannot be started. */
export function run(command, args, { env = {}, stdio = ['ignore', 'inherit', 'inherit'] } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio,
      // npx is a .cmd file there, which only a shell starts.
      shell: onWindows && command !== process.execPath,
    });
    child.once('error', (error) => {
      process.stderr.write(`${command}: ${error.message}\n`);
      resolve(127);
    });
    child.once('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 143)));
  });
}

/** Runs an installed tool (`tsc`, `vitest`, …). */
export function tool(name, args, options) {
  return run(binary(name), args, options);
}

/** Runs an installed tool that has much to say about success too: its output appears only when it fails. */
export function quietTool(name, args) {
  return new Promise((resolve) => {
    const child = spawn(binary(name), args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], shell: onWindows });
    const output = [];
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    child.once('error', (error) => output.push(Buffer.from(`${name}: ${error.message}\n`)));
    child.once('close', (code) => {
      if (code !== 0) process.stderr.write(Buffer.concat(output));
      resolve(code ?? 1);
    });
  });
}

/** Runs the pnpm that package.json pins, which npx fetches on first use. */
export function pnpm(args, options) {
  return run('npx', ['--yes', readJson('package.json').packageManager, ...args], options);
}

/**
 * Runs a Node program in the foreground and ends as it ended. A terminal delivers Ctrl-C to the whole process group, so
 * it is passed on only where no terminal has done so; npm repeats what it is sent, and that is passed on once.
 * In package.json these scripts begin with `exec`: a signal for npm would otherwise end the shell between, and not them.
 */
export function becomeNode(args) {
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    let passedOnAt = Number.NEGATIVE_INFINITY;
    process.on(signal, () => {
      const alreadyDelivered = signal !== 'SIGTERM' && process.stdin.isTTY;
      if (alreadyDelivered || performance.now() - passedOnAt < 1_000) return;
      passedOnAt = performance.now();
      child.kill(signal);
    });
  }
  child.once('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 127;
  });
  child.once('exit', (code, signal) => {
    if (signal === null) {
      process.exitCode = code;
      return;
    }
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
