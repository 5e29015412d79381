
# What stands behind `cargo series` is completed as above; the rest of cargo's is left to whatever
# completes it already, or to what bash-completion finds for it.
: "${_cargo_series_else=}"
_cargo_series_hook() {
    local at=1
    [[ ${COMP_WORDS[1]} == +* ]] && at=2
    if [[ $COMP_CWORD -gt $at && ${COMP_WORDS[at]} == series ]]; then
        COMP_WORDS=(cargo_series "${COMP_WORDS[@]:at+1}")
        COMP_CWORD=$((COMP_CWORD - at))
        _cargo_series cargo_series "$2" "$3"
        return
    fi
    if [[ -z $_cargo_series_else ]] && declare -F _completion_loader >/dev/null; then
        complete -r cargo
        _completion_loader cargo >/dev/null 2>&1
        _cargo_series_take_over
    fi
    [[ -n $_cargo_series_else ]] && "$_cargo_series_else" "$@"
}
_cargo_series_take_over() {
    local before
    before=$(complete -p cargo 2>/dev/null)
    if [[ $before =~ \ -F\ ([^\ ]+)\  && ${BASH_REMATCH[1]} != _cargo_series_hook ]]; then
        _cargo_series_else=${BASH_REMATCH[1]}
    fi
    complete -F _cargo_series_hook -o bashdefault -o default cargo
}
_cargo_series_take_over
