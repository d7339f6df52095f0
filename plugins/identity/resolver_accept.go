package identity

import (
	"mime"
	"strconv"
	"strings"

	"weft/plugins/rest"
)

// form is what the resolver's answer is.
type form uint8

const (
	formNone          form = iota // nothing that the caller takes
	formResolution                // document and metadata
	formDereferencing             // what a DID URL leads to, and metadata
	formURIList                   // a redirect to a service
	formDocument                  // the bare document
)

// The media types of the resolver.
const (
	typeResolution    = "application/did-resolution"
	typeDereferencing = "application/did-url-dereferencing"
	typeURIList       = "text/uri-list"
	typeLD            = "application/ld+json"
	profileResolution = "https://w3id.org/did-resolution" // of typeLD
)

// mediaType is that of a form's result.
func (f form) mediaType() string {
	if f == formDereferencing || f == formURIList {
		return typeDereferencing
	}
	return typeResolution
}

// offer is a form that can be given, under a name that it is asked for by.
type offer struct {
	form      form
	mediaType string
	profile   string
}

// offers are what can be given, the preferred first. Where the DID URL names more than a document, a resolution result
// comes last: it is what the caller gets the fault in.
func offers(selects, services bool) (list []offer) {
	results := []offer{{formResolution, typeResolution, ""}, {formResolution, typeLD, profileResolution}}
	if !selects {
		list = results
	}
	list = append(list, offer{formDereferencing, typeDereferencing, ""})
	if services {
		list = append(list, offer{formURIList, typeURIList, ""})
	}
	for _, t := range documentTypes() {
		list = append(list, offer{formDocument, t, ""})
	}
	if selects {
		list = append(list, results...)
	}
	return list
}

// documentTypes are those of a bare document.
func documentTypes() []string {
	return []string{"application/did", "application/did+json", "application/did+ld+json", rest.TypeJSON, typeLD}
}

// negotiate finds what to give: the greatest weight, and among equals what is preferred (RFC 9110, section 12.5.1).
func negotiate(accept []string, selects, services bool) (form, string) {
	ranges := parseAccept(accept)
	best, weight := offer{}, 0
	for _, o := range offers(selects, services) {
		if w := o.weight(ranges); w > weight {
			best, weight = o, w
		}
	}
	return best.form, best.mediaType
}

// mediaRange is one item of Accept.
type mediaRange struct {
	group, name string
	profile     string
	weight      int // thousandths
}

// MaxRanges bounds the items of Accept that are looked at.
const MaxRanges = 64

func parseAccept(lines []string) (list []mediaRange) {
	all := strings.TrimSpace(strings.Join(lines, ","))
	if all == "" {
		all = "*/*"
	}
	for one := range strings.SplitSeq(all, ",") {
		mediaType, parameters, err := mime.ParseMediaType(one)
		if err != nil || len(list) == MaxRanges {
			continue
		}
		r := mediaRange{weight: 1000, profile: parameters["profile"]}
		r.group, r.name, _ = strings.Cut(mediaType, "/")
		if q, ok := parameters["q"]; ok {
			f, err := strconv.ParseFloat(q, 64)
			if err != nil || !(f >= 0 && f <= 1) {
				continue
			}
			r.weight = int(f*1000 + 0.5)
		}
		list = append(list, r)
	}
	return list
}

// weight is that of the range that rest.Fits the offer most closely; 0: it is not wanted.
func (o offer) weight(ranges []mediaRange) (weight int) {
	group, name, _ := strings.Cut(o.mediaType, "/")
	closest := 0
	for _, r := range ranges {
		fit := 0
		switch {
		case r.group == group && r.name == name && r.profile == o.profile:
			fit = 3
		case o.profile != "": // an alias: only who names it gets it
		case r.group == group && r.name == "*":
			fit = 2
		case r.group == "*" && r.name == "*":
			fit = 1
		}
		if fit > closest || fit == closest && fit > 0 && r.weight > weight {
			closest, weight = fit, r.weight
		}
	}
	return weight
}
