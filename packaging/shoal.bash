# SPDX-License-Identifier: BSD-3-Clause
# Completion of shoal-server and shoal-check in bash. Directives are those that the shoal.conf installed with the server names.
_shoal_directives() {
    local file
    file=$(type -P shoal-server)
    file=${file%/*}/../share/shoal/shoal.conf
    [ ! -r "$file" ] || sed -n 's/^#\([a-z-]\{1,\}\) .*/--\1/p' "$file"
}

_shoal_server() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_shoal_directives) --help --version" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

_shoal_check() {
    local word=${COMP_WORDS[COMP_CWORD]} options=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "show verify repair restore export import records --help --version" -- "$word")
        return
    fi
    case ${COMP_WORDS[1]} in
    repair) options=--yes ;;
    restore) options=--to ;;
    import) options=--shards ;;
    records) options=--resp ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -o filenames -F _shoal_server shoal-server
complete -o filenames -F _shoal_check shoal-check
