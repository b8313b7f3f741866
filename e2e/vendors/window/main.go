//go:build linux

// Window opens one window and keeps it until it is closed: the stand-in for an IDE's program.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/xproto"
)

func main() {
	title := flag.String("title", "Window", "of the window")
	class := flag.String("class", "window", "of the window (WM_CLASS)")
	flag.String("user-data-dir", "", "where it would keep what it knows")
	flag.Parse()
	if err := show(*title, *class); err != nil {
		fmt.Fprintln(os.Stderr, *class+":", err)
		os.Exit(1)
	}
}

func show(title, class string) error {
	x, err := xgb.NewConn()
	if err != nil {
		return fmt.Errorf("open the display %s: %w", os.Getenv("DISPLAY"), err)
	}
	defer x.Close()
	screen := xproto.Setup(x).DefaultScreen(x)
	w, err := xproto.NewWindowId(x)
	if err != nil {
		return err
	}
	err = xproto.CreateWindowChecked(x, screen.RootDepth, w, screen.Root, 40, 40, 900, 600, 0, xproto.WindowClassInputOutput,
		screen.RootVisual, xproto.CwBackPixel|xproto.CwEventMask, []uint32{0x1e1e1e, xproto.EventMaskStructureNotify}).Check()
	if err != nil {
		return err
	}
	closing, err := describe(x, w, title, class)
	if err != nil {
		return err
	}
	if err := xproto.MapWindowChecked(x, w).Check(); err != nil {
		return err
	}
	for {
		event, err := x.WaitForEvent()
		switch e := event.(type) {
		case nil:
			if err == nil {
				return nil // the session is over
			}
		case xproto.DestroyNotifyEvent:
			return nil
		case xproto.ClientMessageEvent:
			if e.Format == 32 && xproto.Atom(e.Data.Data32[0]) == closing {
				return nil
			}
		}
	}
}

// describe sets what window managers ask for, and returns the message by which they ask it to close.
func describe(x *xgb.Conn, w xproto.Window, title, class string) (xproto.Atom, error) {
	atoms := map[string]xproto.Atom{}
	for _, name := range []string{"_NET_WM_NAME", "UTF8_STRING", "_NET_WM_PID", "WM_PROTOCOLS", "WM_DELETE_WINDOW"} {
		reply, err := xproto.InternAtom(x, false, uint16(len(name)), name).Reply()
		if err != nil {
			return 0, err
		}
		atoms[name] = reply.Atom
	}
	host, _ := os.Hostname()
	number := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	for _, p := range []struct {
		name, kind xproto.Atom
		format     byte
		data       []byte
	}{
		{xproto.AtomWmName, xproto.AtomString, 8, []byte(title)},
		{atoms["_NET_WM_NAME"], atoms["UTF8_STRING"], 8, []byte(title)},
		{xproto.AtomWmClass, xproto.AtomString, 8, []byte(class + "\x00" + class + "\x00")},
		{xproto.AtomWmClientMachine, xproto.AtomString, 8, []byte(host)},
		{atoms["_NET_WM_PID"], xproto.AtomCardinal, 32, number(uint32(os.Getpid()))},
		{atoms["WM_PROTOCOLS"], xproto.AtomAtom, 32, number(uint32(atoms["WM_DELETE_WINDOW"]))},
	} {
		n := uint32(len(p.data)) * 8 / uint32(p.format)
		if err := xproto.ChangePropertyChecked(x, xproto.PropModeReplace, w, p.name, p.kind, p.format, n, p.data).Check(); err != nil {
			return 0, err
		}
	}
	return atoms["WM_DELETE_WINDOW"], nil
}
