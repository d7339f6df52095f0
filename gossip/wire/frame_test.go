package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func readAll(r io.Reader) (frames [][]byte, err error) {
	buffer := bufio.NewReaderSize(r, 16)
	for {
		frame, _, err := readFrame(buffer)
		if err != nil {
			return frames, err
		}
		frames = append(frames, frame) // nil for a control word
	}
}

func TestFramesSurviveAnyCut(t *testing.T) {
	var stream bytes.Buffer
	w := bufio.NewWriterSize(&stream, 64)
	sizes := []int{1, 3, 300, firstChunk, firstChunk + 1, 5*firstChunk + 7, MaxFrame}
	for i, size := range sizes {
		if err := errors.Join(writeFrame(w, bytes.Repeat([]byte{byte(i)}, size)), writeWord(w, ping)); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	whole := stream.Bytes()
	for _, r := range []io.Reader{bytes.NewReader(whole), iotest.HalfReader(bytes.NewReader(whole)), iotest.DataErrReader(bytes.NewReader(whole))} {
		frames, err := readAll(r)
		if err != io.EOF || len(frames) != 2*len(sizes) {
			t.Fatalf("%d frames, %v; want %d and EOF", len(frames), err, 2*len(sizes))
		}
		for i, size := range sizes {
			if !bytes.Equal(frames[2*i], bytes.Repeat([]byte{byte(i)}, size)) || frames[2*i+1] != nil {
				t.Errorf("frame %d is not what was written", i)
			}
		}
	}
	if _, err := readAll(bytes.NewReader(whole[:len(whole)-6])); err != io.ErrUnexpectedEOF {
		t.Errorf("cut stream: %v", err)
	}
}

// A length prefix without bytes behind it must not cost more than the first chunk.
func TestPrefixAloneAllocatesLittle(t *testing.T) {
	prefix := []byte{0, 0x10, 0, 0} // 1 MiB
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := readFrame(bufio.NewReaderSize(bytes.NewReader(prefix), 16)); err != io.ErrUnexpectedEOF {
				b.Fatal(err)
			}
		}
	})
	if got := result.AllocedBytesPerOp(); got > firstChunk+1024 {
		t.Errorf("a prefix of 4 bytes allocated %d bytes", got)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 'y', 'z'})
	f.Add([]byte{0, 0x10, 0, 0, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xfd})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(stream), 16)
		var again bytes.Buffer
		w := bufio.NewWriterSize(&again, 16)
		for {
			frame, control, err := readFrame(r)
			if err != nil {
				break
			}
			if frame == nil {
				writeWord(w, control)
				continue
			}
			if len(frame) == 0 || len(frame) > MaxFrame {
				t.Fatalf("frame of %d bytes", len(frame))
			}
			writeFrame(w, frame)
		}
		w.Flush()
		if !bytes.HasPrefix(stream, again.Bytes()) {
			t.Fatalf("what was read is not what was there")
		}
	})
}
