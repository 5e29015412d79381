
# What stands behind `cargo series` is completed as above.
function __fish_cargo_series_is_used
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = series
end
function __fish_cargo_series_complete
    set -l words (commandline -opc)
    complete -C "cargo-series "(string join ' ' -- (string escape -- $words[3..-1]) (commandline -ct))
end
complete -c cargo -n __fish_cargo_series_is_used -f -a "(__fish_cargo_series_complete)"
