package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"weft/plugins/identity/did"
)

// didCore writes what the resolver answers in the form of the W3C's did-test-suite, which judges captured answers of three
// kinds of implementation. That suite is of DID Core 1.0: its errors are words, where those of DID Resolution are URLs, and
// its two functions are resolve and resolveRepresentation, which differ in the media type that was asked for.
//
// A deactivated DID is not among the answers: the suite wants its document, and DID Resolution has none to give.
type didCore struct {
	*conformance
	web *http.Client
}

// capture asks the running node and writes three files.
func (c didCore) capture(ctx context.Context, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, describe := range map[string]func(context.Context) (did.Object, error){
		"did-weft.json": c.method, "resolver-weft.json": c.resolver, "dereferencer-weft.json": c.dereferencer,
	} {
		description, err := describe(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		maps.Copy(description, did.Object{"didMethod": "did:weft", "implementation": "Weft", "implementer": "Weft"})
		text, err := json.MarshalIndent(description, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// representations are the media types of DID Core 1.0.
func representations() []string { return []string{"application/did+json", "application/did+ld+json"} }

// method describes the DIDs: how one looks as data and in each representation.
func (c didCore) method(ctx context.Context) (did.Object, error) {
	active := c.subject.Active
	answer, err := c.ask(ctx, active, "application/did-resolution")
	if err != nil {
		return nil, err
	}
	document, _ := answer["didDocument"].(did.Object)
	metadata, _ := answer["didDocumentMetadata"].(did.Object)
	properties := maps.Clone(document)
	delete(properties, "@context")
	described := did.Object{"didDocumentDataModel": did.Object{"properties": properties}}
	for _, as := range representations() {
		text, err := c.fetch(ctx, active, as)
		if err != nil {
			return nil, err
		}
		described[as] = did.Object{
			"didDocumentDataModel": did.Object{"representationSpecificEntries": did.Object{"@context": document["@context"]}},
			"representation":       string(text), "didDocumentMetadata": metadata, "didResolutionMetadata": did.Object{"contentType": as},
		}
	}
	return did.Object{
		"supportedContentTypes": representations(), "dids": []string{active}, active: described,
		"didParameters": did.Object{
			"service": active + "?service=files-1&relativeRef=%2Fa%2Fb", "relativeRef": active + "?service=files-1&relativeRef=%2Fa%2Fb",
			"versionId": active + "?versionId=" + c.subject.VersionID, "versionTime": fmt.Sprintf("%s?versionTime=%v", active, metadata["updated"]),
		},
	}, nil
}

// resolver describes resolutions: a good one, two that fail, and the document in each representation.
func (c didCore) resolver(ctx context.Context) (did.Object, error) {
	var executions []did.Object
	for _, id := range []string{c.subject.Active, "did:weft", c.subject.NotFound} {
		answer, err := c.ask(ctx, id, "application/did-resolution")
		if err != nil {
			return nil, err
		}
		metadata := inDIDCore(answer["didResolutionMetadata"])
		delete(metadata, "contentType") // resolve hands out data, not a representation
		executions = append(executions, did.Object{
			"function": "resolve", "input": did.Object{"did": id, "resolutionOptions": did.Object{}},
			"output": did.Object{"didDocument": answer["didDocument"], "didDocumentMetadata": answer["didDocumentMetadata"], "didResolutionMetadata": metadata},
		})
	}
	for _, as := range representations() {
		text, err := c.fetch(ctx, c.subject.Active, as)
		if err != nil {
			return nil, err
		}
		executions = append(executions, did.Object{
			"function": "resolveRepresentation", "input": did.Object{"did": c.subject.Active, "resolutionOptions": did.Object{"accept": as}},
			"output": did.Object{"didDocumentStream": string(text), "didDocumentMetadata": did.Object{}, "didResolutionMetadata": did.Object{"contentType": as}},
		})
	}
	return did.Object{"executions": executions, "expectedOutcomes": did.Object{
		"defaultOutcome": []int{0, 3, 4}, "invalidDidErrorOutcome": []int{1}, "notFoundErrorOutcome": []int{2},
	}}, nil
}

// dereferencer describes DID URLs: a document, a key in it, one that is no DID URL, and a key that is not there.
func (c didCore) dereferencer(ctx context.Context) (did.Object, error) {
	as := representations()[1]
	var executions []did.Object
	for _, link := range []string{c.subject.Active, c.subject.Active + "#key-1", "did:weft", c.subject.Active + "#none"} {
		answer, err := c.ask(ctx, link, "application/did-url-dereferencing")
		if err != nil {
			return nil, err
		}
		metadata, stream := inDIDCore(answer["dereferencingMetadata"]), ""
		if content := answer["contentStream"]; content != nil {
			text, err := did.Canonical(content)
			if err != nil {
				return nil, err
			}
			metadata["contentType"], stream = as, string(text)
		}
		executions = append(executions, did.Object{
			"function": "dereference", "input": did.Object{"didUrl": link, "dereferenceOptions": did.Object{"accept": as}},
			"output": did.Object{"dereferencingMetadata": metadata, "contentStream": stream, "contentMetadata": answer["contentMetadata"]},
		})
	}
	return did.Object{"executions": executions, "expectedOutcomes": did.Object{
		"defaultOutcome": []int{0, 1}, "invalidDidUrlErrorOutcome": []int{2}, "notFoundErrorOutcome": []int{3},
	}}, nil
}

// inDIDCore is metadata with its error, if there is one, as DID Core 1.0 wrote it: NOT_FOUND is notFound.
func inDIDCore(v any) did.Object {
	metadata, _ := v.(did.Object)
	metadata = maps.Clone(metadata)
	problem, failed := metadata["error"].(did.Object)
	if !failed {
		return metadata
	}
	kind, _ := problem["type"].(string)
	words := strings.Split(strings.ToLower(kind[strings.LastIndexByte(kind, '#')+1:]), "_")
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	metadata["error"] = strings.Join(words, "")
	return metadata
}

func (c didCore) ask(ctx context.Context, id, accept string) (did.Object, error) {
	text, err := c.fetch(ctx, id, accept)
	if err != nil {
		return nil, err
	}
	return did.DecodeObject(text, did.JSONLimits{})
}

// fetch returns the resolver's answer, whatever its status.
func (c didCore) fetch(ctx context.Context, id, accept string) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.listen+"/1.0/identifiers/"+url.PathEscape(id), nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Accept", accept)
	a, err := c.web.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	return io.ReadAll(io.LimitReader(a.Body, 1<<20))
}
