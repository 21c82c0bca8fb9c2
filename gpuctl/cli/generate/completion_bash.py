"""The bash completion script. Verbs, flags and choices are answered by the shell alone; works from bash 3.2 (macOS) on."""

from collections.abc import Iterable

from gpuctl.cli.generate.tree import Command, Program, Value, flags_at

_HEAD = """\
# bash completion for gpuctl. Generated from its commands; do not edit.
# Only names of jobs, nodes and the like start a program: `gpuctl _complete`, which reads a cache.

"""

_ENGINE = r"""
# Candidates for values of one kind, as whole words that begin with $1.
_gpuctl_offer() {
    local cur=$1 prefix=$2 kind=$3 names suffix=
    case $kind in
        files) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -P "$prefix" -f -- "$cur")); return ;;
        directories) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -P "$prefix" -d -- "$cur")); return ;;
        programs) COMPREPLY=($(compgen -c -- "$cur")); return ;;
        =*) COMPREPLY=($(compgen -P "$prefix" -W "${kind#=}" -- "$cur")); return ;;
        after)
            case $cur in
                *:*) prefix=$prefix${cur%%:*}: cur=${cur#*:} kind=jobs ;;
                *) COMPREPLY=($(compgen -P "$prefix" -W "ok: any: fail:" -- "$cur")); return ;;
            esac ;;
        job-paths|volume-paths)
            case $cur in *:*) return ;; esac
            suffix=: kind=${kind%-paths}s ;;
        node-list)
            case $cur in *,*) prefix=$prefix${cur%,*}, cur=${cur##*,} ;; esac
            kind=nodes ;;
        "") return ;;
    esac
    case $kind:$cur in jobs:job/*) prefix=${prefix}job/ cur=${cur#job/} ;; esac
    names=$("${COMP_WORDS[0]}" _complete "$kind" "$cur" 2>/dev/null)
    COMPREPLY=($(compgen -P "$prefix" -S "$suffix" -W "$names" -- "$cur"))
}

_gpuctl() {
    local IFS=$' \t\n' cur word prior i at= glue= pending= passed= count=0 kind
    local verbs flags valued args passes
    local -a words=()
    COMPREPLY=()

    # Readline takes words apart at = and :, this puts them together again.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            =|:|::) if ((${#words[@]} > 1)); then words[${#words[@]}-1]+=$word; glue=1; continue; fi ;;
        esac
        if [[ $glue ]]; then words[${#words[@]}-1]+=$word; else words+=("$word"); fi
        glue=
    done
    cur=${words[${#words[@]}-1]}

    _gpuctl_spec ""
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ $pending ]]; then pending=; continue; fi
        case $word in
            --) passed=1 ;;
            --*=*) ;;
            -?*) [[ " $valued " == *" $word "* ]] && pending=$word ;;
            *)
                if [[ " $verbs " == *" $word "* ]]; then
                    at="${at:+$at }$word" verbs=
                    _gpuctl_spec "$at"
                else
                    ((++count))
                    [[ $passes ]] && passed=1
                fi ;;
        esac
        [[ $passed ]] && break
    done

    if [[ $passed ]]; then
        _gpuctl_offer "$cur" "" files
    elif [[ $pending ]]; then
        _gpuctl_kind "$at:$pending"
        _gpuctl_offer "$cur" "" "$kind"
    elif [[ $cur == --*=* ]]; then
        _gpuctl_kind "$at:${cur%%=*}"
        _gpuctl_offer "${cur#*=}" "${cur%%=*}=" "$kind"
    elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ $verbs ]]; then
        COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
    else
        _gpuctl_kind "$at:$count"
        [[ $kind ]] || _gpuctl_kind "$at:*"
        _gpuctl_offer "$cur" "" "$kind"
    fi

    # Readline replaces only what follows the last break, and the space must not part a prefix from its rest.
    case ${COMPREPLY[0]-} in *[:=,]) compopt -o nospace 2>/dev/null ;; esac
    for prior in = :; do
        if [[ $cur == *"$prior"* && $COMP_WORDBREAKS == *"$prior"* ]]; then
            prior=${cur%"${cur##*"$prior"}"}
            for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do COMPREPLY[i]=${COMPREPLY[i]#"$prior"}; done
            cur=${cur#"$prior"}
        fi
    done
}

complete -F _gpuctl gpuctl
"""


def script(program: Program) -> str:
    """The text of ``gpuctl.bash``."""
    return _HEAD + _spec(program) + "\n" + _kinds(program) + _ENGINE


def _spec(program: Program) -> str:
    lines = [
        "# What may follow a verb: its own verbs, its flags, those of them that take a value, whether its flags end at its first argument.",
        "_gpuctl_spec() {",
        "    case $1 in",
        f'        "") verbs="{_words(command.name for command in program.commands)}" flags="-h --help -V --version" valued= passes= ;;',
    ]
    lines += [f"        {_quoted(command)}) {_row(command)} ;;" for command in program.every]
    return "\n".join([*lines, "    esac", "}", ""])


def _row(command: Command) -> str:
    flags = flags_at(command)
    names = _words(name for flag in flags for name in flag.names)
    valued = _words(name for flag in flags if flag.value for name in flag.names)
    verbs = _words(below.name for below in command.commands)
    return f'verbs="{verbs}" flags="{names}" valued="{valued}" passes={"1" if command.passes else ""}'


def _kinds(program: Program) -> str:
    """The ``case`` from a place to what is offered there; places that offer the same share a line."""
    at_flags: dict[str, dict[str, str]] = {}
    at_arguments: dict[str, list[str]] = {}
    for command in program.every:
        at = " ".join(command.path)
        for flag in flags_at(command):
            for name in flag.names if flag.value else ():
                at_flags.setdefault(name, {})[at] = _kind(flag.value) if flag.value else ""
        for position, argument in enumerate(command.arguments):
            at_arguments.setdefault(_kind(argument.value), []).append(f'"{at}:*"' if argument.repeat else f'"{at}:{position}"')
    places: dict[str, list[str]] = {}
    for name, kinds in at_flags.items():
        if len(set(kinds.values())) == 1:  # the same everywhere, as most are
            places.setdefault(next(iter(kinds.values())), []).append(f'*":{name}"')
        else:
            for at, kind in kinds.items():
                places.setdefault(kind, []).append(f'"{at}:{name}"')
    for kind, where in at_arguments.items():
        places.setdefault(kind, []).extend(where)
    places.pop("", None)
    rows = [f'        {"|".join(where)}) kind="{kind}" ;;' for kind, where in places.items()]
    head = ["# What is offered for a flag's value, an argument by its position, or any argument (*).", "_gpuctl_kind() {", "    case $1 in"]
    return "\n".join([*head, *rows, "        *) kind= ;;", "    esac", "}", ""])


def _kind(value: Value) -> str:
    return "=" + _words(value.choices) if value.choices else value.source or ""


def _quoted(command: Command) -> str:
    return f'"{" ".join(command.path)}"'


def _words(words: Iterable[str]) -> str:
    return " ".join(words)
