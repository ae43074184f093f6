#!/bin/sh
# Pins the images of an overlay by digest: what runs is then what you have tried, whoever moves a tag. Run it in your overlay:
#
#   sh ../../pin-images.sh
#
# In kustomization.yaml, `newTag: TAG` becomes `digest: sha256:... # TAG`; in podgate.yaml, each of kubernetes.templateImages
# gets its digest behind the tag. The registry is asked through docker (buildx), with its logins. What has a digest already
# stays: to upgrade, write the new tag again, and run this again.
set -eu

digest_of() {
  found=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1")
  printf '%s\n' "$found" | grep -Eqx 'sha256:[0-9a-f]{64}' || { echo "no digest for $1: $found" >&2; exit 1; }
  printf '%s\n' "$found"
}

awk '/^ *newName:/ { name = $2 } /^ *newTag:/ { print name, $2 }' kustomization.yaml | while read -r name tag; do
  digest=$(digest_of "$name:$tag")
  # The first newTag after that newName.
  awk -v name="$name" -v tag="$tag" -v digest="$digest" '
    /^ *newName:/ { last = $2 }
    /^ *newTag:/ && last == name && $2 == tag { sub(/newTag:.*/, "digest: " digest " # " tag) }
    { print }' kustomization.yaml > kustomization.yaml.new
  mv kustomization.yaml.new kustomization.yaml
  echo "$name:$tag $digest"
done

awk '/^ +(template\/(postgres|neo4j)|podgate\/hello): / && $2 !~ /@/ { print $2 }' podgate.yaml | while read -r image; do
  digest=$(digest_of "$image")
  awk -v image="$image" -v digest="$digest" '
    /^ +(template\/(postgres|neo4j)|podgate\/hello): / && $2 == image { sub(/[^ ]+$/, image "@" digest) }
    { print }' podgate.yaml > podgate.yaml.new
  mv podgate.yaml.new podgate.yaml
  echo "$image $digest"
done
