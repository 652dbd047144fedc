package sandbox

// Options of sending and of attachments.

import "time"

// mailOptions are part of the options.
type mailOptions struct {
	submitDelay   time.Duration
	doubleSubmit  bool
	noReports     bool
	maxRecipients int
	uploadLife    time.Duration
	htmlBodies    bool
}

func defaultMailOptions() mailOptions {
	return mailOptions{maxRecipients: 500, uploadLife: 4 * time.Hour}
}

// SubmitDelay makes an accepted mail wait in Drafts for a time, as a draft still,
// before it goes into Sent Items and to its recipients: 202 means no more than
// that the mail was taken
// (https://learn.microsoft.com/graph/outlook-things-to-know-about-send-mail). A
// store keeps what waits. The ledger has the acceptance at once, and Delivered
// when the mail went out. A draft that is gone for good by then is not sent.
// Default 0: at once.
func SubmitDelay(d time.Duration) Option { return func(o *options) { o.mail.submitDelay = d } }

// DoubleSubmit makes a second send of a draft that waits ([SubmitDelay]) send the
// mail twice. What Graph does is not documented
// (https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/921). By
// default the second send answers 202 and changes nothing.
func DoubleSubmit() Option { return func(o *options) { o.mail.doubleSubmit = true } }

// NoDeliveryReports keeps the sandbox from writing to a sender whose mail went to
// an address of [DefaultDomain] that is nobody's. By default a report of
// non-delivery comes into the sender's Inbox, as with Exchange.
func NoDeliveryReports() Option { return func(o *options) { o.mail.noReports = true } }

// MaxRecipients sets how many recipients a mail may have. Default 500, as
// Exchange has it; 0: no limit.
// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits
func MaxRecipients(n int) Option { return func(o *options) { o.mail.maxRecipients = n } }

// HTMLBodies shows every body as HTML where no Prefer header says otherwise, as the
// documentation has it (https://learn.microsoft.com/graph/api/message-get). By
// default a body comes as it was written, which Graph was seen to do as well.
func HTMLBodies() Option { return func(o *options) { o.mail.htmlBodies = true } }

// UploadLife sets how long an upload session can be used. Default 4 hours.
func UploadLife(d time.Duration) Option { return func(o *options) { o.mail.uploadLife = d } }
