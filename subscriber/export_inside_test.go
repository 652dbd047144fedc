package subscriber

// ToldV1 is how version 1 of the cursor noted what it had told.
var ToldV1 = toldV1
