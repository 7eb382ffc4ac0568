package compat

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// link is a TCP connection that a test can cut and mend: the client dials the link, the link dials
// the server. It also notes what passes, so that a test can look at the bytes the client hides.
//
// While it is cut, connections are accepted and closed at once, as a dead route's would be.
type link struct {
	listener net.Listener
	server   string

	mu      sync.Mutex
	cut     bool
	ends    []net.Conn
	request *tap // What the newest connection's client sent, and what it got.
	reply   *tap
}

func newLink(t *testing.T) *link {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, server: serverAddress()}
	go l.accept()
	t.Cleanup(func() {
		l.Cut()
		listener.Close()
	})
	return l
}

func (l *link) Address() string { return l.listener.Addr().String() }

// Cut ends every connection and lets none through.
func (l *link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, end := range l.ends {
		end.Close()
	}
	l.ends = nil
}

func (l *link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// Frames returns the payloads that the newest connection's client has sent and received so far.
func (l *link) Frames() (requests, replies [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.request == nil {
		return nil, nil
	}
	return l.request.frames(), l.reply.frames()
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.join(client)
	}
}

func (l *link) join(client net.Conn) {
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		client.Close()
		return
	}
	request, reply := &tap{to: server}, &tap{to: client}
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		client.Close()
		server.Close()
		return
	}
	l.ends = append(l.ends, client, server)
	l.request, l.reply = request, reply
	l.mu.Unlock()

	pump := func(to *tap, from net.Conn) {
		io.Copy(to, from)
		client.Close()
		server.Close()
	}
	go pump(request, client)
	go pump(reply, server)
}

// tap passes bytes on and keeps a copy.
type tap struct {
	to   net.Conn
	mu   sync.Mutex
	seen bytes.Buffer
}

func (t *tap) Write(chunk []byte) (int, error) {
	t.mu.Lock()
	t.seen.Write(chunk)
	t.mu.Unlock()
	return t.to.Write(chunk)
}

// frames splits what has passed into its length-prefixed payloads; an unfinished one is left out.
func (t *tap) frames() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var frames [][]byte
	for rest := t.seen.Bytes(); len(rest) >= 4; {
		length := int(binary.BigEndian.Uint32(rest))
		if len(rest) < 4+length {
			break
		}
		frames = append(frames, append([]byte(nil), rest[4:4+length]...))
		rest = rest[4+length:]
	}
	return frames
}

// xids returns the transaction ids of the frames after the handshake, without those that the server
// or the client's clock started by itself (notifications, pings).
func xids(frames [][]byte) []int32 {
	var xids []int32
	for _, frame := range frames[1:] {
		if xid := int32(binary.BigEndian.Uint32(frame)); xid >= 0 {
			xids = append(xids, xid)
		}
	}
	return xids
}
