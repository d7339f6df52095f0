package jsonld

// URLs of the contexts that credentials use.
const (
	CredentialsV2   = "https://www.w3.org/ns/credentials/v2"
	CredentialsV1   = "https://www.w3.org/2018/credentials/v1"
	DataIntegrityV2 = "https://w3id.org/security/data-integrity/v2"
	DataIntegrityV1 = "https://w3id.org/security/data-integrity/v1"
	MultikeyV1      = "https://w3id.org/security/multikey/v1"
	Ed25519V1       = "https://w3id.org/security/suites/ed25519-2020/v1"
	ExamplesV2      = "https://www.w3.org/ns/credentials/examples/v2"
	DIDV1           = "https://www.w3.org/ns/did/v1"
	DIDV11          = "https://www.w3.org/ns/did/v1.1"
	CIDV1           = "https://www.w3.org/ns/cid/v1"
)

// Pin is a context and the SHA-256 hashes, in hexadecimal, of its published file and of that file's canonical JSON.
type Pin struct {
	URL, File, Canonical string
	SHA384               string // of the published file, base64; only where it is published
}

// Pinned are the contexts that every node accepts.
func Pinned() []Pin {
	return []Pin{
		{
			URL:       CredentialsV2,
			File:      "59955ced6697d61e03f2b2556febe5308ab16842846f5b586d7f1f7adec92734",
			Canonical: "b463c8d6a066214123ddd9827b135e1b50e1fc73322cc52a9b12a4f1fc7d86cf",
			SHA384:    "l/HrjlBCNWyAX91hr6LFV2Y3heB5Tcr6IeE4/Tje8YyzYBM8IhqjHWiWpr8+ZbYU",
		},
		{
			URL:       CredentialsV1,
			File:      "ab4ddd9a531758807a79a5b450510d61ae8d147eab966cc9a200c07095b0cdcc",
			Canonical: "b01e671e873981f19a9102a9a57f666dbcaeb31b99e3e124378d143e71549247",
		},
		{
			URL:       DataIntegrityV2,
			File:      "67f21e6e33a6c14e5ccfd2fc7865f7474fb71a04af7e94136cb399dfac8ae8f4",
			Canonical: "7ba3c50acf2689d5e07927267343eb353249c7c22a9f2d00307cc970e855e305",
		},
		{
			URL:       DataIntegrityV1,
			File:      "b5d829bd09aa7c42abc6efa0c8ed7635313b5487f37ccfce3ecd149ca9418554",
			Canonical: "9505bf85338a4c2121ad03992ac90061bc85d43bcfa34d9d47b779381cf08b5f",
		},
		{
			URL:       MultikeyV1,
			File:      "ba2c182de2d92f7e47184bcca8fcf0beaee6d3986c527bf664c195bbc7c58597",
			Canonical: "be20c3ee6af6e9c4102e66a85c26617831218e32216bdf050f870e389e737cdc",
		},
	}
}

// Optional are contexts that a node accepts only if its configuration pins them: public suites need them, credentials
// should not. The DID contexts still move.
func Optional() []Pin {
	return []Pin{
		{
			URL:       Ed25519V1,
			File:      "b5b8eefd246e7c58e0962f1f8248d16983b46a8277ff0a6b77376b462defd730",
			Canonical: "fb517f09d990829aed734c9bad8cbbb2ac3d5063b865c7e3d81f246074bf5691",
		},
		{
			URL:       ExamplesV2,
			File:      "57393fbc69d6efb9b9b5dc9cb6b9880b0944360abfe2eaf459c9e58cf2279d7c",
			Canonical: "8a675bead391be98e6054c4e07c41f73337508d398e07047344c5d349aa2dc58",
		},
		{
			URL:       DIDV1,
			File:      "4f3eae5568c9c5f036a082088f9e192019ee06faa78973c87ff91d5421b88dad",
			Canonical: "a7e146c40fcec005d3f0f14ae745665f446da58d7914a9d8f733746686fad82b",
		},
		{
			URL:       DIDV11,
			File:      "ea216ecc1cb02cd39b693dba2250141e270ba0bf95890be107dd9a9e8e43de85",
			Canonical: "9fc257da5b37784ca2b07c3ad666f5ff9beea846a360ddd229fd0b44972015c8",
		},
		{
			URL:       CIDV1,
			File:      "ea216ecc1cb02cd39b693dba2250141e270ba0bf95890be107dd9a9e8e43de85",
			Canonical: "9fc257da5b37784ca2b07c3ad666f5ff9beea846a360ddd229fd0b44972015c8",
		},
	}
}
