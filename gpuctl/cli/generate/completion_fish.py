"""The fish completion script: one ``complete`` line a flag, guarded by which verb stands on the line."""

from gpuctl.cli.generate.tree import Argument, Command, Flag, Program, Value, flags_at

_HEAD = """\
# fish completion for gpuctl. Generated from its commands; do not edit.
# Only names of jobs, nodes and the like start a program: `gpuctl _complete`, which reads a cache.

"""

_ENGINE = r"""
# Where the cursor stands: the verb's words, then how many arguments it has, or "passed" once another program's words have begun.
function __gpuctl_at
    set -l at
    set -l count 0
    set -l pending 0
    for word in (commandline -opc)[2..-1]
        if test $pending = 1
            set pending 0
            continue
        end
        switch $word
            case --
                echo passed
                return
            case '--*=*'
            case '-?*'
                if contains -- $word (string split ' ' -- (__gpuctl_valued "$at"))
                    set pending 1
                end
            case '*'
                if contains -- $word (string split ' ' -- (__gpuctl_verbs "$at"))
                    set -a at $word
                else
                    set count (math $count + 1)
                    if __gpuctl_passes "$at"
                        echo passed
                        return
                    end
                end
        end
    end
    echo "$at:$count"
end

function __gpuctl_here --argument-names verb
    string match -q -- "$verb:*" (__gpuctl_at)
end

function __gpuctl_argument --argument-names verb first last
    set -l at (__gpuctl_at)
    string match -q -- "$verb:*" $at; or return 1
    set -l count (string split ':' -- $at)[-1]
    test $count -ge $first; and test $count -le $last
end

function __gpuctl_names --argument-names kind
    set -l cur (commandline -ct | string replace -r '^--[^=]*=' '')
    # fish asks for arguments also where a flag is being typed.
    string match -q -- '-*' $cur; and return
    set -l prefix ''
    set -l suffix ''
    switch $kind
        case after
            if not string match -q '*:*' -- $cur
                printf '%s\n' ok: any: fail:
                return
            end
            set prefix (string replace -r ':.*' ':' -- $cur)
            set cur (string replace -r '^[^:]*:' '' -- $cur)
            set kind jobs
        case job-paths volume-paths
            string match -q '*:*' -- $cur; and return
            set suffix ':'
            set kind (string replace -- -paths s $kind)
        case node-list
            set prefix (string match -r '.*,' -- $cur)
            set cur (string replace -r '.*,' '' -- $cur)
            set kind nodes
    end
    if test $kind = jobs; and string match -q 'job/*' -- $cur
        set prefix "$prefix"job/
        set cur (string replace job/ '' -- $cur)
    end
    set -l program (commandline -opc)[1]
    command -q $program; or return
    for name in ($program _complete $kind $cur 2>/dev/null)
        echo "$prefix$name$suffix"
    end
end

complete -c gpuctl -f
complete -c gpuctl -n 'test (__gpuctl_at) = passed' -F
complete -c gpuctl -n '__gpuctl_here ""' -s h -l help -d 'Show this help and exit.'
complete -c gpuctl -n '__gpuctl_here ""' -s V -l version -d 'Print the version.'
"""

_MANY = 1000
"""More arguments than anybody types."""


def script(program: Program) -> str:
    """The text of ``gpuctl.fish``."""
    parts = [
        _HEAD,
        _switch("__gpuctl_verbs", {"": _verbs(program.commands)} | {_at(each): _verbs(each.commands) for each in program.every}),
        _switch("__gpuctl_valued", {_at(each): _valued(each) for each in program.every}),
        _passes(program),
        _ENGINE,
    ]
    for command in program.commands:
        parts += [f"\n# {command.name}\n", _offer_verb(command)]
        parts += [_offer_verb(below) for below in command.commands]
        parts += [_lines(each) for each in (command, *command.commands)]
    return "".join(parts)


def _at(command: Command) -> str:
    return " ".join(command.path)


def _verbs(commands: tuple[Command, ...]) -> str:
    return " ".join(each.name for each in commands)


def _valued(command: Command) -> str:
    return " ".join(name for flag in flags_at(command) if flag.value for name in flag.names)


def _switch(name: str, table: dict[str, str]) -> str:
    rows = "".join(f"        case {_quote(at)}\n            echo {_quote(words)}\n" for at, words in table.items() if words)
    return f"function {name}\n    switch $argv[1]\n{rows}    end\nend\n\n"


def _passes(program: Program) -> str:
    passing = " ".join(_quote(_at(each)) for each in program.every if each.passes) or "''"
    return f'function __gpuctl_passes\n    contains -- "$argv[1]" {passing}\nend\n'


def _offer_verb(command: Command) -> str:
    above = " ".join(command.path[:-1])
    condition = _quote(f'__gpuctl_argument "{above}" 0 0')
    return f"complete -c gpuctl -n {condition} -a {_quote(command.name)} -d {_quote(command.summary)}\n"


def _lines(command: Command) -> str:
    here = _quote(f'__gpuctl_here "{_at(command)}"')
    rows = [f"complete -c gpuctl -n {here} {_flag(flag)}\n" for flag in flags_at(command)]
    for position, argument in enumerate(command.arguments):
        offered = _offered(argument.value)
        if offered:
            rows.append(f"complete -c gpuctl -n {_argument_condition(command, position, argument)} {offered}\n")
    return "".join(rows)


def _argument_condition(command: Command, position: int, argument: Argument) -> str:
    last = _MANY if argument.repeat else position
    return _quote(f'__gpuctl_argument "{_at(command)}" {position} {last}')


def _flag(flag: Flag) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
    taken = ""
    if flag.value:
        taken = f" -r {_offered(flag.value)}".rstrip() if flag.value.source in _FILES else f" -x {_offered(flag.value)}".rstrip()
    return f"{names}{taken} -d {_quote(flag.help)}"


_FILES = ("files", "directories")


def _offered(value: Value) -> str:
    if value.choices:
        return f"-a {_quote(' '.join(value.choices))}"
    if value.source == "files":
        return "-F"
    if value.source == "directories":
        return "-a '(__fish_complete_directories)'"
    if value.source == "programs":
        return "-a '(__fish_complete_command)'"
    return f"-a '(__gpuctl_names {value.source})'" if value.source else ""


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
