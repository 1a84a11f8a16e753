#!/bin/sh
# Fetches the freely licensed music that the gate was trained on and tested with, from Debian's game data: scripts/get-gate-music.sh DIR
# makes DIR/train/PACKAGE/*.wav, DIR/test/PACKAGE/*.wav and DIR/speech/LANGUAGE/*.wav (16 kHz, at most 4 minutes each; 2 GB).
# It installs nothing but wants apt-get, dpkg, ffmpeg and python3. None of it is part of this repository; the packages say under which
# licence each piece is.
set -eu
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1/deb" "$1/x"
root=$(cd "$1" && pwd)

train="wesnoth-1.16-music warzone2100-music nexuiz-music singularity-music hedgewars-data supertux-data drascula-music asc-music
  fretsonfire-songs-muldjord"
test="asterisk-moh-opsound-wav hyperrogue-music planetblupi-music-ogg fretsonfire-songs-sectoid"
speech="en es fr it ru"

unpack() {
  [ -d "$root/x/$1" ] && return
  (cd "$root/deb" && apt-get download "$1")
  dpkg -x "$root/deb/$1"_*.deb "$root/x/$1"
  find "$root/x/$1" -name '*.pk3' | while read -r archive; do python3 -m zipfile -e "$archive" "$archive.d"; done
}

# convert PACKAGE FOLDER: game data holds voices and effects beside its music; those are left out.
convert() {
  mkdir -p "$2"
  find "$root/x/$1" -type f \( -iname '*.ogg' -o -iname '*.opus' -o -iname '*.mp3' -o -iname '*.wav' \) -size +60k | sort |
    grep -v -i 'hedgewars/Data/Sounds/[^r]\|supertux2/sounds' | while read -r track; do
    to="$2/$(echo "${track#"$root/x/$1/"}" | tr '/ ' '__').wav"
    [ -s "$to" ] || ffmpeg -nostdin -v error -y -i "$track" -t 240 -ac 1 -ar 16000 -sample_fmt s16 "$to" || rm -f "$to"
  done
}

for package in $train; do unpack "$package"; convert "$package" "$root/train/$package"; done
for package in $test; do unpack "$package"; convert "$package" "$root/test/$package"; done
for language in $speech; do
  unpack "asterisk-core-sounds-$language-wav"
  convert "asterisk-core-sounds-$language-wav" "$root/speech/$language"
done
