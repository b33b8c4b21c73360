package report

import (
	"bytes"
	"fmt"
	"math"

	"github.com/acmeca/acmeca/hack/bench/load"
)

// series is a server's results under the loads for comparison.
type series struct {
	name, color string
	rates, p50  map[int]float64 // certificates a second, and milliseconds, by clients
}

// clientCounts lists the numbers of clients of those loads.
var clientCounts = []int{1, 16, 64}

// colors are the servers' colors, ours first.
var colors = []string{"#1d4ed8", "#c2410c", "#6b7280", "#15803d", "#7e22ce"}

func seriesOf(name, color string, loads []load.Result) series {
	s := series{name: name, color: color, rates: map[int]float64{}, p50: map[int]float64{}}
	for _, clients := range clientCounts {
		l := Find(loads, load.Task{Of: One.Of, Clients: clients, Names: 1})
		s.rates[clients], s.p50[clients] = l.Rate, l.P50
	}
	return s
}

const (
	chartWidth, panelHeight = 720, 260
	plotLeft, plotHeight    = 60, 180
	barWidth                = 34
)

// Chart draws rates and latencies of the compared servers.
func (r Report) Chart() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13">`+"\n", chartWidth, 2*panelHeight+40)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	var all []series
	for i, b := range r.Beside {
		all = append(all, seriesOf(b.Name, colors[i%len(colors)], b.Loads))
	}
	panel(&b, 0, "certificates a second (more is better)", all, func(s series) map[int]float64 { return s.rates })
	panel(&b, panelHeight, "median latency in ms, order to download (less is better)", all, func(s series) map[int]float64 { return s.p50 })
	x := plotLeft
	for _, s := range all {
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d" fill="#111827">%s</text>`+"\n",
			x, 2*panelHeight+14, s.color, x+18, 2*panelHeight+25, s.name)
		x += 30 + 8*len(s.name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// panel draws groups of bars, one group for each number of clients.
func panel(b *bytes.Buffer, top int, title string, servers []series, value func(series) map[int]float64) {
	most := 1.0
	for _, s := range servers {
		for _, v := range value(s) {
			most = math.Max(most, v)
		}
	}
	bottom := top + 40 + plotHeight
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="600" fill="#111827">%s</text>`+"\n", plotLeft, top+24, title)
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#9ca3af"/>`+"\n", plotLeft, bottom, chartWidth-20, bottom)
	x := plotLeft + 20
	for _, clients := range clientCounts {
		start := x
		for _, s := range servers {
			v, ok := value(s)[clients]
			if !ok || v == 0 {
				continue
			}
			height := int(v / most * plotHeight)
			fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", x, bottom-height, barWidth, height, s.color)
			fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle" font-size="11" fill="#111827">%.0f</text>`+"\n", x+barWidth/2, bottom-height-4, v)
			x += barWidth + 6
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle" fill="#111827">%s</text>`+"\n", (start+x)/2, bottom+18, clientsText(clients))
		x += 50
	}
}

func clientsText(count int) string {
	if count == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", count)
}
