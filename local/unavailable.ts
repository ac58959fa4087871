/**
 * The ways in which a home cannot offer a Redis, as one typed error.
 *
 * - `redis_not_found`: none was named, none is on the PATH, and installing one was refused, impossible or failed; also
 *   a named one that does not answer.
 * - `redis_start_failed`: a binary was found, its server did not come up or no longer answers.
 * - `redis_foreign`: somebody else's server answers where ours should; it is neither used nor replaced.
 * - `home_locked`: another process holds the home, or the home belongs to another machine.
 */
export type RedisUnavailableCode = 'redis_not_found' | 'redis_start_failed' | 'redis_foreign' | 'home_locked';

/** Thrown by `openHome`. `message` says what happened and where, `hint` (one or more lines) what to do next. */
export class RedisUnavailable extends Error {
  override readonly name = 'RedisUnavailable';
  readonly code: RedisUnavailableCode;
  readonly hint: string;

  constructor(code: RedisUnavailableCode, message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

/** How to get a Redis on each platform, one line each; the hint wherever none could be found. */
export const installLines = [
  'Debian, Ubuntu:  sudo apt-get install redis-server',
  'Fedora, RHEL:    sudo dnf install valkey',
  'Alpine:          sudo apk add valkey',
  'Arch:            sudo pacman -S valkey',
  'macOS:           brew install redis',
  'or name one:     REDIS_URL=redis://host:6379',
].join('\n');
