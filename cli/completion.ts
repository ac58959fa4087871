/**
 * `completion`: a script for the shell, made from the commands themselves, so that it cannot name an option that is not
 * there. It is static: the shell asks nobody while it completes.
 */
import { Argument, Command, Option } from 'commander';
import type { ExitCode } from '../segments/errors.ts';
import { print, printJson } from './terminal.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

/** One verb: `budget set` is a path of two. */
interface Verb {
  readonly path: readonly string[];
  readonly about: string;
  readonly verbs: readonly { readonly name: string; readonly about: string }[];
  readonly options: readonly { readonly flag: string; readonly about: string; readonly choices: readonly string[]; readonly takesValue: boolean }[];
}

/** The `completion` verb; `root` is the program that it completes. */
export function completionCommand(exit: (code: ExitCode) => void, root: () => Command): Command {
  return new Command('completion')
    .description('Print a completion script for a shell.')
    .addArgument(new Argument('<shell>', 'which shell').choices([...shells]))
    .option('--json', 'the script as one JSON document')
    .addHelpText('after', '\nExamples:\n  source <(plimsoll completion bash)                                        # or add it to ~/.bashrc\n  plimsoll completion zsh > "${fpath[1]}/_plimsoll"\n  plimsoll completion fish > ~/.config/fish/completions/plimsoll.fish\n\nExit codes: 0 ok, 2 usage')
    .action((shell: Shell, options: { readonly json?: boolean }) => {
      const verbs = verbsOf(root(), []);
      const script = shell === 'bash' ? bash(verbs) : shell === 'zsh' ? zsh(verbs) : fish(verbs);
      if (options.json) printJson({ shell, script });
      else print(script);
      exit(0);
    });
}

function verbsOf(command: Command, path: readonly string[]): readonly Verb[] {
  const options = command.options.filter((option) => option.long !== undefined && !option.hidden);
  const own: Verb = {
    path,
    about: firstSentence(command.description()),
    verbs: command.commands.map((sub) => ({ name: sub.name(), about: firstSentence(sub.description()) })),
    options: [...options, new Option('--help', 'display help')].map((option) => ({
      flag: option.long ?? '', about: firstSentence(option.description), choices: option.argChoices ?? [], takesValue: option.required || option.optional,
    })),
  };
  return [own, ...command.commands.flatMap((sub) => verbsOf(sub, [...path, sub.name()]))];
}

function firstSentence(text: string): string {
  return (text.split(/[.;]\s|\.$/)[0] ?? text).replaceAll(/['"`\\$:[\]]/g, '');
}

function bash(verbs: readonly Verb[]): string {
  const cases = verbs.map(({ path, verbs: subs, options }) => {
    const words = [...subs.map(({ name }) => name), ...options.map(({ flag }) => flag)].join(' ');
    return `    '${path.join(' ')}') words='${words}' ;;`;
  });
  const choices = [...new Map(verbs.flatMap(({ options }) => options.filter((each) => each.choices.length > 0).map((each) => [each.flag, each.choices.join(' ')])))];
  const paths = verbs.filter(({ path }) => path.length > 0).map(({ path }) => `'${path.join(' ')}'`);
  return `# bash completion of plimsoll: source <(plimsoll completion bash)
_plimsoll() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" verb='' words='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${verb:+$verb }$word" in
      ${paths.join(' | ')}) verb="\${verb:+$verb }$word" ;;
    esac
  done
  case "$previous" in
${choices.map(([flag, words]) => `    ${flag}) COMPREPLY=($(compgen -W '${words}' -- "$current")); return ;;`).join('\n')}
  esac
  case "$verb" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -o bashdefault -F _plimsoll plimsoll
`;
}

function zsh(verbs: readonly Verb[]): string {
  const functions = verbs.map(({ path, verbs: subs, options }) => {
    const flags = options.map(({ flag, about, choices, takesValue }) => `'${flag}[${about}]${takesValue ? `:value:${choices.length > 0 ? `(${choices.join(' ')})` : '_files'}` : ''}'`);
    const name = ['_plimsoll', ...path].join('_').replaceAll('-', '_');
    if (subs.length === 0) return `${name}() {\n  _arguments ${[...flags, `'*:file:_files'`].join(' \\\n    ')}\n}`;
    const list = subs.map((sub) => `'${sub.name}:${sub.about}'`).join(' \\\n      ');
    const calls = subs.map((sub) => `        ${sub.name}) ${name}_${sub.name.replaceAll('-', '_')} ;;`).join('\n');
    return `${name}() {\n  local state\n  _arguments -C ${flags.join(' ')} '1: :->verb' '*:: :->rest'\n  case $state in\n    verb) local -a verbs; verbs=(${list}); _describe verb verbs ;;\n    rest) case $words[1] in\n${calls}\n      esac ;;\n  esac\n}`;
  });
  // zsh runs a file of its function path as the function itself, the first time; then the answer is wanted at once.
  return `#compdef plimsoll\n# zsh completion of plimsoll: plimsoll completion zsh > "\${fpath[1]}/_plimsoll"\n${functions.join('\n')}\nif [[ \$funcstack[1] == _plimsoll ]]; then _plimsoll "\$@"; else compdef _plimsoll plimsoll; fi\n`;
}

function fish(verbs: readonly Verb[]): string {
  const lines = verbs.flatMap(({ path, verbs: subs, options }) => {
    const names = subs.map(({ name }) => name).join(' ');
    const seen = path.map((name) => `__fish_seen_subcommand_from ${name}`);
    const here = path.length === 0 ? '__fish_use_subcommand' : [...seen, ...(names === '' ? [] : [`not __fish_seen_subcommand_from ${names}`])].join('; and ');
    return [
      ...subs.map((sub) => `complete -c plimsoll -f -n '${here}' -a ${sub.name} -d '${sub.about}'`),
      ...options.map(({ flag, about, choices, takesValue }) => `complete -c plimsoll -n '${path.length === 0 ? here : seen.join('; and ')}' -l ${flag.slice(2)} -d '${about}'${takesValue ? ' -r' : ''}${choices.length > 0 ? ` -f -a '${choices.join(' ')}'` : ''}`),
    ];
  });
  return `# fish completion of plimsoll: plimsoll completion fish > ~/.config/fish/completions/plimsoll.fish\n${lines.join('\n')}\n`;
}
