// previous.mjs - the release before this one, as a program: tests/previous-release names it, git's history has it.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const [NAME, COMMIT] = readFileSync(path.join(ROOT, 'tests/previous-release'), 'utf8').trim().split(' ');
const FOLDER = path.join(ROOT, 'build/previous', COMMIT.slice(0, 12));
const PROGRAM = path.join(FOLDER, 'catalyst');

export const PREVIOUS_VERSION = NAME.slice(1);

const run = (program, ...args) => execFileSync(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 256 << 20 });

/** For node:test's `skip` option: a shallow clone, for example, has no history to build it from. */
export const NO_PREVIOUS = (() => {
  if (existsSync(PROGRAM)) return false;
  try {
    run('git', 'rev-parse', '--quiet', '--verify', `${COMMIT}^{tree}`);
    return false;
  } catch {
    return `the history does not hold ${NAME}: git fetch --unshallow --tags`;
  }
})();

/** Builds it once, without page, tests and optimisation: half a minute of one core. Gives the program's path. */
export function previousRelease() {
  if (existsSync(PROGRAM)) return PROGRAM;
  mkdirSync(path.dirname(FOLDER), { recursive: true });
  const folder = mkdtempSync(`${FOLDER}-`);
  try {
    const source = path.join(folder, 'source');
    const build = path.join(folder, 'build');
    mkdirSync(source);
    run('git', 'archive', '--format=tar', '-o', path.join(folder, 'source.tar'), COMMIT);
    run('tar', '-xf', path.join(folder, 'source.tar'), '-C', source);
    const launcher = ['ccache'].filter((name) => process.env.PATH.split(':').some((bin) => existsSync(path.join(bin, name))));
    run('cmake', '-S', source, '-B', build, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=', '-DCMAKE_C_FLAGS=-O0', ...launcher.map((name) => `-DCMAKE_C_COMPILER_LAUNCHER=${name}`));
    run('cmake', '--build', build, '--target', 'catalyst', '-j2');
    mkdirSync(FOLDER, { recursive: true });
    renameSync(path.join(build, 'catalyst'), PROGRAM);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return PROGRAM;
}
