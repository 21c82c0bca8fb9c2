# bash completion for gpuctl. Generated from its commands; do not edit.
# Only names of jobs, nodes and the like start a program: `gpuctl _complete`, which reads a cache.

# What may follow a verb: its own verbs, its flags, those of them that take a value, whether its flags end at its first argument.
_gpuctl_spec() {
    case $1 in
        "") verbs="submit run shell rerun jobs job logs why top history diff wait cancel update exec cp port-forward nodes clusters quota windows usage volumes controller profile config doctor completion version help" flags="-h --help -V --version" valued= passes= ;;
        "submit") verbs="" flags="--kind -j --shape --per --nproc-per-node --python --setup --workdir --snapshot --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --hold --priority --fit-window --signal --grace --retries --requeue --checkpoint --notify --volume --logs-to --name --label --array --args-from -f --file --set --request-id --best-effort --wait-for-capacity --explain --plan --dry-run --render --wait --follow --timeout -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--kind -j --shape --per --nproc-per-node --python --setup --workdir --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --priority --signal --grace --retries --checkpoint --notify --volume --logs-to --name --label --array --args-from -f --file --set --request-id --timeout -o --output --profile --request-timeout" passes=1 ;;
        "run") verbs="" flags="--kind -j --shape --per --nproc-per-node --python --setup --workdir --snapshot --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --hold --priority --fit-window --signal --grace --retries --requeue --checkpoint --notify --volume --logs-to --name --label --array --args-from -f --file --set --request-id --best-effort --wait-for-capacity --timeout -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--kind -j --shape --per --nproc-per-node --python --setup --workdir --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --priority --signal --grace --retries --checkpoint --notify --volume --logs-to --name --label --array --args-from -f --file --set --request-id --timeout -o --output --profile --request-timeout" passes=1 ;;
        "shell") verbs="" flags="-j --shape --setup --workdir --snapshot --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --priority --fit-window --signal --grace --notify --volume --logs-to --name --label --request-id --best-effort --wait-for-capacity --timeout -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-j --shape --setup --workdir --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --priority --signal --grace --notify --volume --logs-to --name --label --request-id --timeout -o --output --profile --request-timeout" passes=1 ;;
        "rerun") verbs="" flags="--kind -j --shape --per --nproc-per-node --python --setup --workdir --snapshot --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --hold --priority --fit-window --signal --grace --retries --requeue --checkpoint --notify --volume --logs-to --name --label --array --args-from --set --same-code --failed --request-id --best-effort --wait-for-capacity --explain --plan --dry-run --render --wait --follow --timeout -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--kind -j --shape --per --nproc-per-node --python --setup --workdir --git --code-volume --image --cpus --memory --gpu-type --devices --env --env-file --secret --secret-file --cluster --tier --queue --exclude --max-cost --pod-patch --time --after --priority --signal --grace --retries --checkpoint --notify --volume --logs-to --name --label --array --args-from --set --request-id --timeout -o --output --profile --request-timeout" passes=1 ;;
        "jobs") verbs="" flags="-u --user --team --state --since --name -l --label -A --all --tasks --sort --limit -w --watch --interval -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-u --user --team --state --since --name -l --label --sort --limit --interval -o --output --profile --request-timeout" passes= ;;
        "job") verbs="" flags="-w --watch --interval -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--interval -o --output --profile --request-timeout" passes= ;;
        "logs") verbs="" flags="-f --follow --rank --node --task --attempt --failed --first-error --since --tail --fold --no-fold --prefix --no-prefix --timestamps -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--rank --node --task --attempt --since --tail -o --output --profile --request-timeout" passes= ;;
        "why") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "top") verbs="" flags="--sort -w --watch --interval -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--sort --interval -o --output --profile --request-timeout" passes= ;;
        "history") verbs="" flags="--state --since --name -l --label --sort --limit -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--state --since --name -l --label --sort --limit -o --output --profile --request-timeout" passes= ;;
        "diff") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "wait") verbs="" flags="--timeout --exit-status -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--timeout -o --output --profile --request-timeout" passes= ;;
        "cancel") verbs="" flags="--name --state -u --user -l --label -y --yes --grace -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--name --state -u --user -l --label --grace -o --output --profile --request-timeout" passes= ;;
        "update") verbs="" flags="--time --priority --tier --hold --release -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--time --priority --tier -o --output --profile --request-timeout" passes= ;;
        "exec") verbs="" flags="--rank --node --all -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--rank --node -o --output --profile --request-timeout" passes= ;;
        "cp") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "port-forward") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "nodes") verbs="" flags="--devices --cluster --sort -w --watch --interval -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--cluster --sort --interval -o --output --profile --request-timeout" passes= ;;
        "clusters") verbs="" flags="--sort -w --watch --interval -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--sort --interval -o --output --profile --request-timeout" passes= ;;
        "quota") verbs="" flags="--team --tier --cluster --sort -w --watch --interval -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--team --tier --cluster --sort --interval -o --output --profile --request-timeout" passes= ;;
        "windows") verbs="list show check" flags="-h --help --team --week --at -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color" valued="--team --at -o --output --profile --request-timeout" passes= ;;
        "windows list") verbs="" flags="--team --week --at -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--team --at -o --output --profile --request-timeout" passes= ;;
        "windows show") verbs="" flags="--team --week --at -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--team --at -o --output --profile --request-timeout" passes= ;;
        "windows check") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "usage") verbs="" flags="--by --since -u --user --team --sort -w --watch --interval -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--by --since -u --user --team --sort --interval -o --output --profile --request-timeout" passes= ;;
        "volumes") verbs="list create show delete put get files" flags="-h --help --sort -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color" valued="--sort -o --output --profile --request-timeout" passes= ;;
        "volumes list") verbs="" flags="--sort -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--sort -o --output --profile --request-timeout" passes= ;;
        "volumes create") verbs="" flags="--size --access --storage-class --cluster -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--size --access --storage-class --cluster -o --output --profile --request-timeout" passes= ;;
        "volumes show") verbs="" flags="--cluster -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--cluster -o --output --profile --request-timeout" passes= ;;
        "volumes delete") verbs="" flags="--confirm --cluster -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--confirm --cluster -o --output --profile --request-timeout" passes= ;;
        "volumes put") verbs="" flags="--cluster -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--cluster -o --output --profile --request-timeout" passes= ;;
        "volumes get") verbs="" flags="--cluster -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--cluster -o --output --profile --request-timeout" passes= ;;
        "volumes files") verbs="" flags="--cluster --sort -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--cluster --sort -o --output --profile --request-timeout" passes= ;;
        "controller") verbs="windows crds manifests" flags="-h --help" valued="" passes= ;;
        "controller windows") verbs="" flags="--context --in-cluster --kubeconfig --cluster-name --namespace --gpu-resource --notify-url --listen --log-format --once --dry-run -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--context --kubeconfig --cluster-name --namespace --gpu-resource --notify-url --listen --log-format -o --output --profile --request-timeout" passes= ;;
        "controller crds") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "controller manifests") verbs="" flags="--image --namespace --replicas --cluster-name --without-admission --gpu-resource -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--image --namespace --replicas --cluster-name --gpu-resource -o --output --profile --request-timeout" passes= ;;
        "profile") verbs="list show use add remove" flags="-h --help -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color" valued="-o --output --profile --request-timeout" passes= ;;
        "profile list") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "profile show") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "profile use") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "profile add") verbs="" flags="--cluster --store --currency --use -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--cluster --store --currency -o --output --profile --request-timeout" passes= ;;
        "profile remove") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "config") verbs="list explain" flags="-h --help -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color" valued="-o --output --profile --request-timeout" passes= ;;
        "config list") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "config explain") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "doctor") verbs="" flags="--strict --rbac --set-up-locks --group -o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="--group -o --output --profile --request-timeout" passes= ;;
        "completion") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "version") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
        "help") verbs="" flags="-o --output --no-headers --profile --request-timeout -q --quiet -v --verbose --no-color -h --help" valued="-o --output --profile --request-timeout" passes= ;;
    esac
}

# What is offered for a flag's value, an argument by its position, or any argument (*).
_gpuctl_kind() {
    case $1 in
        *":--kind") kind="=pytorch ray command" ;;
        *":--per") kind="=node gpu" ;;
        *":--python"|*":--env-file"|*":--secret-file"|*":--pod-patch"|*":--args-from"|*":-f"|*":--file"|*":--kubeconfig"|"submit:0"|"run:0"|"cp:1"|"windows check:0"|"volumes put:1"|"volumes get:2") kind="files" ;;
        *":--setup") kind="programs" ;;
        *":--workdir") kind="directories" ;;
        "submit:--cluster"|"run:--cluster"|"shell:--cluster"|"rerun:--cluster"|"nodes:--cluster"|"quota:--cluster"|"volumes create:--cluster"|"volumes show:--cluster"|"volumes delete:--cluster"|"volumes put:--cluster"|"volumes get:--cluster"|"volumes files:--cluster") kind="clusters" ;;
        "submit:--tier"|"run:--tier"|"shell:--tier"|"rerun:--tier") kind="=reserved on-demand any" ;;
        *":--exclude") kind="node-list" ;;
        *":--after") kind="after" ;;
        *":--volume") kind="volume-paths" ;;
        "submit:-o"|"run:-o"|"shell:-o"|"rerun:-o"|"jobs:-o"|"job:-o"|"why:-o"|"top:-o"|"history:-o"|"diff:-o"|"wait:-o"|"cancel:-o"|"update:-o"|"exec:-o"|"cp:-o"|"port-forward:-o"|"nodes:-o"|"clusters:-o"|"quota:-o"|"windows:-o"|"windows list:-o"|"windows show:-o"|"windows check:-o"|"usage:-o"|"volumes:-o"|"volumes list:-o"|"volumes create:-o"|"volumes show:-o"|"volumes delete:-o"|"volumes put:-o"|"volumes get:-o"|"volumes files:-o"|"controller windows:-o"|"controller crds:-o"|"controller manifests:-o"|"profile:-o"|"profile list:-o"|"profile show:-o"|"profile use:-o"|"profile add:-o"|"profile remove:-o"|"config:-o"|"config list:-o"|"config explain:-o"|"doctor:-o"|"completion:-o"|"version:-o"|"help:-o"|"submit:--output"|"run:--output"|"shell:--output"|"rerun:--output"|"jobs:--output"|"job:--output"|"why:--output"|"top:--output"|"history:--output"|"diff:--output"|"wait:--output"|"cancel:--output"|"update:--output"|"exec:--output"|"cp:--output"|"port-forward:--output"|"nodes:--output"|"clusters:--output"|"quota:--output"|"windows:--output"|"windows list:--output"|"windows show:--output"|"windows check:--output"|"usage:--output"|"volumes:--output"|"volumes list:--output"|"volumes create:--output"|"volumes show:--output"|"volumes delete:--output"|"volumes put:--output"|"volumes get:--output"|"volumes files:--output"|"controller windows:--output"|"controller crds:--output"|"controller manifests:--output"|"profile:--output"|"profile list:--output"|"profile show:--output"|"profile use:--output"|"profile add:--output"|"profile remove:--output"|"config:--output"|"config list:--output"|"config explain:--output"|"doctor:--output"|"completion:--output"|"version:--output"|"help:--output") kind="=table wide json yaml name csv jsonpath= columns=" ;;
        "logs:-o"|"logs:--output") kind="=json" ;;
        *":--profile"|"profile show:0"|"profile use:0"|"profile remove:0") kind="profiles" ;;
        *":--state") kind="=queued starting running succeeded failed cancelled cut lost unfinished ended" ;;
        *":--confirm"|"volumes show:0"|"volumes delete:0"|"volumes put:0"|"volumes get:0"|"volumes files:0") kind="volumes" ;;
        "rerun:0"|"job:0"|"logs:0"|"why:0"|"top:0"|"diff:0"|"diff:1"|"wait:*"|"cancel:*"|"update:0"|"exec:0"|"port-forward:0") kind="jobs" ;;
        "cp:0") kind="job-paths" ;;
        "port-forward:1") kind="=dashboard tensorboard jupyter" ;;
        "config explain:0") kind="=profile state_dir lock_dir devices slots log_limit schedule team color time_zone request_timeout" ;;
        "completion:0") kind="=bash zsh fish" ;;
        "help:*") kind="=submit run shell rerun jobs job logs why top history diff wait cancel update exec cp port-forward nodes clusters quota windows usage volumes controller profile config doctor completion version help slurm exit-codes formats environment" ;;
        *) kind= ;;
    esac
}

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
