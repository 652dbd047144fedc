package publisher

import (
	"strconv"
	"strings"
)

// nearest returns the word that somebody may have meant, or "".
func nearest(typed string, words []string) string {
	if len(typed) > 64 {
		return ""
	}
	best, least := "", 3
	for _, word := range words {
		if d := distance(strings.ToLower(typed), word); d < least && d < len(word)/2 {
			best, least = word, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost++
			}
			left = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func formatPosition(line, column int) string {
	return "line " + strconv.Itoa(line) + ", column " + strconv.Itoa(column)
}
