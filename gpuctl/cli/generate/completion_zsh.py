"""The zsh completion script: one function a verb, each a call of zsh's own ``_arguments``."""

from gpuctl.cli.generate.tree import Argument, Command, Flag, Program, Value, flags_at

_HEAD = """\
#compdef gpuctl
# zsh completion for gpuctl. Generated from its commands; do not edit.
# Only names of jobs, nodes and the like start a program: `gpuctl _complete`, which reads a cache.

"""

_ENGINE = r"""
# Names of one kind (the last argument); what comes before are _arguments' own options for compadd.
_gpuctl_names() {
    [[ $PREFIX = -* ]] && return 1  # asked also where a flag is being typed
    local kind=$argv[-1]
    local -a names add=("${(@)argv[1,-2]}")
    case $kind in
        after)
            if ! compset -P '(ok|any|fail):'; then
                compadd "$add[@]" -S '' -- ok: any: fail:
                return
            fi
            kind=jobs ;;
        job-paths|volume-paths)
            compset -P '*:' && return 1
            add+=(-S ':')
            kind=${kind%-paths}s ;;
        node-list)
            compset -P '*,'
            add+=(-S '')
            kind=nodes ;;
    esac
    [[ $kind = jobs ]] && compset -P 'job/'
    names=(${(f)"$(_call_program names ${(q)_gpuctl_program} _complete $kind ${(q)PREFIX} 2>/dev/null)"})
    compadd "$add[@]" -a names
}
"""

_TAIL = """
if [[ $funcstack[1] = _gpuctl ]]; then
    _gpuctl "$@"
else
    compdef _gpuctl gpuctl
fi
"""


def script(program: Program) -> str:
    """The text of ``_gpuctl``."""
    top = Command(path=(), summary=program.summary, commands=program.commands)
    parts = [_HEAD, _group(top, flags=("'(- *)'{-h,--help}'[Show this help and exit.]'", "'(- *)'{-V,--version}'[Print the version.]'"))]
    for command in program.commands:
        parts.append(_group(command, flags=tuple(_flags(command))) if command.commands else _verb(command))
        parts += [_verb(below) for below in command.commands]
    return "\n".join(parts) + _ENGINE + _TAIL


def _function(path: tuple[str, ...]) -> str:
    return "_".join(("_gpuctl", *path))


def _verb(command: Command) -> str:
    specs = [*_flags(command), *_arguments(command)]
    # -A: once another program's words have begun, our flags are not offered any more.
    begin = "_arguments -s -S -A '-*'" if command.passes else "_arguments -s -S"
    body = " \\\n        ".join([begin, *specs])
    return f"{_function(command.path)}() {{\n    {body}\n}}\n"


def _group(command: Command, *, flags: tuple[str, ...]) -> str:
    rows = "\n".join(f"                {_single(_escape(each.name) + ':' + each.summary)}" for each in command.commands)
    program = "" if command.path else " _gpuctl_program=$words[1]"
    specs = " \\\n        ".join(["_arguments -C -s -S", *flags, "'1: :->verb'", "'*:: :->rest'"])
    name = _function(command.path)
    return f"""{name}() {{
    local curcontext=$curcontext state state_descr line{program}
    typeset -A opt_args
    {specs} && return
    case $state in
        verb)
            local -a verbs=(
{rows}
            )
            _describe -V verb verbs ;;
        rest)
            curcontext=${{curcontext%:*}}-$words[1]:
            (( $+functions[{name}_$words[1]] )) && {name}_$words[1] ;;
    esac
}}
"""


def _flags(command: Command) -> list[str]:
    return [spec for flag in flags_at(command) for spec in _flag(flag)]


def _flag(flag: Flag) -> list[str]:
    others = "" if flag.repeat else f"({' '.join(flag.names)})" if len(flag.names) > 1 else ""
    repeat = "*" if flag.repeat else ""
    taken = ""
    if flag.value:
        taken = f":{_escape(flag.value.metavar)}:{_action(flag.value)}"
    specs = []
    for name in flag.names:
        sign = "" if not flag.value else "=" if name.startswith("--") else "+"
        specs.append(_single(f"{others}{repeat}{name}{sign}[{_escape(flag.help)}]{taken}"))
    return specs


def _arguments(command: Command) -> list[str]:
    specs = []
    for position, argument in enumerate(command.arguments, start=1):
        rest = command.passes and argument.repeat
        where = "*" if argument.repeat else f"{position}{_optional(argument)}"
        action = "_files" if rest and position > 1 else _action(argument.value)
        specs.append(_single(f"{where}:{_escape(argument.value.metavar.lower())}:{action}"))
    if command.passes and not any(argument.repeat for argument in command.arguments):
        specs.append("'*:argument:_files'")
    return specs


def _optional(argument: Argument) -> str:
    return "" if argument.required else ":"


def _action(value: Value) -> str:
    if value.choices:
        # A prefix such as jsonpath= is no whole word: no space may follow it.
        open_ended = [each for each in value.choices if each.endswith("=")]
        whole = [each for each in value.choices if not each.endswith("=")]
        if not open_ended:
            return f"({' '.join(whole)})"
        return "{compadd -- " + " ".join(whole) + "; compadd -S '' -- " + " ".join(open_ended) + "}"
    if value.source == "files":
        return "_files"
    if value.source == "directories":
        return "_files -/"
    if value.source == "programs":
        return "_command_names -e"
    return f"_gpuctl_names {value.source}" if value.source else " "


def _escape(text: str) -> str:
    for mark in ("\\", ":", "[", "]"):
        text = text.replace(mark, "\\" + mark)
    return text


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
