package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// On a stream every frame is a big-endian u32 length, 1..MaxFrame, and its bytes. Two values that no length can take
// are control words without bytes, allowed on the witness lane: they prove that the peer lives and measure the way.
const (
	prefixBytes = 4

	ping uint32 = 0xffff_ffff
	pong uint32 = 0xffff_fffe

	// firstChunk is what a length prefix alone can make the reader allocate; more follows only as bytes arrive. The
	// largest message of the ledger fits, so that only batches are read in steps.
	firstChunk = 64 << 10
)

// readFrame returns the next frame, or a control word and no frame. A length outside the bounds is errFault; an end
// between two frames is io.EOF, inside one io.ErrUnexpectedEOF.
func readFrame(r *bufio.Reader) (frame []byte, control uint32, err error) {
	prefix, err := r.Peek(prefixBytes)
	if err != nil {
		if err == io.EOF && len(prefix) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, 0, err
	}
	length := binary.BigEndian.Uint32(prefix)
	r.Discard(prefixBytes)
	if length == ping || length == pong {
		return nil, length, nil
	}
	if length == 0 || length > MaxFrame {
		return nil, 0, fmt.Errorf("%w: length %d, allowed are 1 to %d", errFault, length, MaxFrame)
	}
	frame, err = readBody(r, int(length))
	return frame, 0, err
}

// readBody doubles its buffer as bytes arrive, so that memory follows what the peer sent, not what it announced.
func readBody(r *bufio.Reader, length int) ([]byte, error) {
	body := make([]byte, min(length, firstChunk))
	for have := 0; ; {
		n, err := io.ReadFull(r, body[have:])
		have += n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if have == length {
			return body, nil
		}
		grown := make([]byte, min(length, 2*len(body)))
		copy(grown, body)
		body = grown
	}
}

func writeFrame(w *bufio.Writer, frame []byte) error {
	if err := writeWord(w, uint32(len(frame))); err != nil {
		return err
	}
	_, err := w.Write(frame)
	return err
}

// writeWord builds the prefix inside the writer's own buffer, which costs no allocation.
func writeWord(w *bufio.Writer, word uint32) error {
	_, err := w.Write(binary.BigEndian.AppendUint32(w.AvailableBuffer(), word))
	return err
}
