#!/bin/sh
# The age check at an e-shop, in curl: keys and signatures are made by weft on this machine, everything a node sees goes
# over curl. Run it beside 'bin/weft testnet --base-port 8080'; NODE0 to NODE3 name other nodes, WEFT another binary.
set -eu
WEFT=${WEFT:-bin/weft}
NODE0=${NODE0:-http://127.0.0.1:8080} NODE1=${NODE1:-http://127.0.0.1:8081}
NODE2=${NODE2:-http://127.0.0.1:8082} NODE3=${NODE3:-http://127.0.0.1:8083}
export WEFT_API=$NODE0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

weft() { "$WEFT" "$@" 2>> "$dir/log" || { cat "$dir/log" >&2; exit 1; }; } # the log has in words what was signed
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$2" | head -n 1; } # the first string member of that name in a file
post() { # URL FILE [MEMBER]: send a signed operation, wait until it is final, print what it made
  curl -fsS "$1?wait=final&timeout=20s" -H 'Content-Type: application/json' -d "@$2" > "$dir/answer.json"
  if [ $# -gt 2 ]; then member "$3" "$dir/answer.json"; fi
}
verify() { # NODE FILE: the shop's question; prints the HTTP status, and each check that failed
  status=$(curl -sS -o "$dir/report.json" -w '%{http_code}' "$1/presentations/verify" -H 'Content-Type: application/json' -d "@$2")
  echo "   HTTP $status $(grep -o '"code":"[a-z_A-Z]*"' "$dir/report.json" | sort -u | tr '\n' ' ')"
}
question() { # PRESENTATION CHALLENGE: all that the shop wants to know
  printf '{"verifiablePresentation":%s,"options":{"challenge":"%s","domain":"https://shop.example","policy":{"federation":"%s",' "$(cat "$1")" "$2" "$federation"
  printf '"claims":[{"pointer":"/credentialSubject/ageOver","property":"person.age_over"}],"expect":[{"pointer":"/credentialSubject/ageOver","equals":18}]}}}'
}
challenge() { curl -fsS -X POST "$1/challenges" | sed 's/.*"challenge":"\([^"]*\)".*/\1/'; }

echo "1. A regulator and a bank get DIDs: made here, sent as signed operations to two members' nodes"
for who in regulator bank; do
  weft did create "$dir/$who.keys" --unencrypted --yes --out "$dir/$who.json" > /dev/null
done
regulator=$(post "$NODE0/api/v1/identities" "$dir/regulator.json" did)
bank=$(post "$NODE1/api/v1/identities" "$dir/bank.json" did)
echo "   $bank"
curl -fsS -H 'Accept: application/did' "$NODE2/1.0/identifiers/$bank" > /dev/null
echo "   resolved at a third member's node"

echo "2. Sarah and Tom get a did:key each, which no ledger knows"
for who in sarah tom; do
  weft --json did create "$dir/$who.keys" --type person --unencrypted --yes > "$dir/$who.json"
done
sarah=$(member did "$dir/sarah.json") tom=$(member did "$dir/tom.json")

echo "3. The regulator roots a federation and lets the bank attest ages"
weft trust create 'Age checks' --keys "$dir/regulator.keys" --property 'person.age_over=16,18,21' --yes --out "$dir/federation.json" > /dev/null
federation=$(post "$NODE0/api/v1/trust/federations" "$dir/federation.json" federation)
weft trust grant "$federation" "$bank" --keys "$dir/regulator.keys" --property 'person.age_over=16,18' --yes --out "$dir/grant.json" > /dev/null
post "$NODE0/api/v1/trust/federations/$federation/accreditations" "$dir/grant.json"
weft status create --keys "$dir/bank.keys" --purpose revocation --yes --out "$dir/list.json" > /dev/null
list=$(post "$NODE1/api/v1/status-lists" "$dir/list.json" list)

echo "4. The bank issues: a document and a signature, no node is asked"
issue() { # WHO DID AGE INDEX
  cat > "$dir/$1.unsigned" <<DOC
{"@context":["https://www.w3.org/ns/credentials/v2",{"@vocab":"urn:weft:template:AgeOver:1#"}],"id":"urn:weft:example:$1",
 "type":["VerifiableCredential","AgeOver"],"issuer":"$bank","validUntil":"2099-01-01T00:00:00Z",
 "credentialSubject":{"id":"$2","ageOver":$3},
 "credentialStatus":{"type":"BitstringStatusListEntry","statusPurpose":"revocation","statusListIndex":"$4",
  "statusListCredential":"https://bank.example/status-lists/$list"}}
DOC
  weft vc sign "$dir/$1.unsigned" --keys "$dir/bank.keys" --yes --out "$dir/$1.vc" > /dev/null
}
sleep 1 # a credential that says it was made in the second of the grant would be too early
issue sarah "$sarah" 18 4711
issue tom "$tom" 16 815

echo "5. The shop asks, through its own member's node"
present() { # WHO NODE: answer a challenge of a node; the question is left in WHO.question
  fresh=$(challenge "$2")
  rm -f "$dir/$1.vp"
  weft vc present "$dir/$1.vc" --keys "$dir/$1.keys" --challenge "$fresh" --domain https://shop.example --out "$dir/$1.vp" > /dev/null
  question "$dir/$1.vp" "$fresh" > "$dir/$1.question"
}
present sarah "$NODE2"
echo "   Sarah:"; verify "$NODE2" "$dir/sarah.question"
echo "   the same once more:"; verify "$NODE2" "$dir/sarah.question"
present tom "$NODE2"
echo "   Tom, who is 17:"; verify "$NODE2" "$dir/tom.question"
sed 's/"ageOver": *16/"ageOver":18/' "$dir/tom.vc" > "$dir/forged.vc"
cp "$dir/tom.keys" "$dir/forged.keys"
present forged "$NODE2"
echo "   Tom, who wrote 18 over it:"; verify "$NODE2" "$dir/forged.question"

echo "6. The bank takes Sarah's credential back; the shop asks a fourth node"
weft status revoke "$dir/sarah.vc" --keys "$dir/bank.keys" --yes --out "$dir/revoke.json" > /dev/null
post "$NODE1/api/v1/status-lists/$list/operations" "$dir/revoke.json"
present sarah "$NODE3"
echo "   Sarah:"; verify "$NODE3" "$dir/sarah.question"
